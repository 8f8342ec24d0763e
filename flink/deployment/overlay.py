"""An overlay: its rendered manifests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from flink.deployment.errors import DeploymentError, UsageError
from flink.deployment.kubectl import Kubectl, Manifest

OVERLAYS = Path(__file__).resolve().parent.parent / "kubernetes" / "overlays"
PLACEHOLDER = "registry.example.com"
FLINK_KINDS = ("FlinkDeployment", "FlinkSessionJob")
# What `delete` leaves: they hold data, or what was not deployed from here, such as Secrets.
# A definition is shared by all namespaces.
KEPT_KINDS = ("Namespace", "PersistentVolumeClaim", "KafkaTopic", "KafkaUser", "CustomResourceDefinition")


@dataclass(frozen=True)
class Overlay:
    """The manifests of one environment.

    Attributes:
      name: the overlay's folder.
      manifests: the rendered manifests.
    """

    name: str
    manifests: Sequence[Manifest]

    @property
    def job(self) -> Manifest:
        """The manifest with the job: a FlinkDeployment, or a FlinkSessionJob in a session cluster."""
        return next(one for one in self.manifests if one["kind"] in FLINK_KINDS and "job" in one["spec"])

    @property
    def namespace(self) -> str:
        """The namespace of Flink."""
        return str(self.job["metadata"]["namespace"])

    def of_flink(self) -> list[Manifest]:
        """The manifests that the Flink operator handles."""
        return [one for one in self.manifests if one["kind"] in FLINK_KINDS]

    def others(self) -> list[Manifest]:
        """The other manifests, which must be applied before those of Flink."""
        return [one for one in self.manifests if one["kind"] not in FLINK_KINDS]


def check_name(name: str) -> None:
    """Raises UsageError when the overlay does not exist."""
    known = sorted(path.parent.name for path in OVERLAYS.glob("*/kustomization.yaml"))
    if name not in known:
        problem = f"overlay {name!r} does not exist" if name else "no environment was given"
        raise UsageError(f"{problem}: choose one with ENV=NAME; the environments are {', '.join(known)}")


def render(kubectl: Kubectl, name: str) -> Overlay:
    """Renders an overlay; raises DeploymentError when that fails, or when the overlay has placeholders left."""
    text = kubectl.run("kustomize", str(OVERLAYS / name))
    if PLACEHOLDER in text:
        raise DeploymentError(
            f"the overlay {name!r} still contains {PLACEHOLDER}: set the location of your images under `images` in "
            f"flink/kubernetes/overlays/{name}/kustomization.yaml"
        )
    return Overlay(name, tuple(yaml.safe_load_all(text)))
