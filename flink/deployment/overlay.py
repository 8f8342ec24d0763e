"""An overlay: its rendered manifests, and the checks that a cluster has what they need."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from flink.deployment.errors import DeploymentError, UsageError
from flink.deployment.kubectl import Kubectl, Manifest

OVERLAYS = Path(__file__).resolve().parent.parent / "kubernetes" / "overlays"
PLACEHOLDER = "registry.example.com"
FLINK_KINDS = ("FlinkDeployment", "FlinkSessionJob")
# What `delete` leaves: they hold data, or what was not deployed from here, such as Secrets.
# A definition is shared by all namespaces.
KEPT_KINDS = ("Namespace", "PersistentVolumeClaim", "KafkaTopic", "KafkaUser", "CustomResourceDefinition")

# The custom resource definition of each kind, and what installs it.
_CUSTOM_KINDS = {
    "FlinkDeployment": ("flinkdeployments.flink.apache.org", "the Flink Kubernetes Operator, 1.10 or newer"),
    "FlinkSessionJob": ("flinksessionjobs.flink.apache.org", "the Flink Kubernetes Operator, 1.10 or newer"),
    "KafkaTopic": ("kafkatopics.kafka.strimzi.io", "Strimzi, 0.49 or newer"),
    "KafkaUser": ("kafkausers.kafka.strimzi.io", "Strimzi, 0.49 or newer"),
    "PodMonitor": ("podmonitors.monitoring.coreos.com", "the Prometheus operator"),
    "InferenceService": ("inferenceservices.serving.kserve.io", "KServe, or remove the component from the overlay"),
}


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


def check_cluster(kubectl: Kubectl, overlay: Overlay) -> None:
    """Raises DeploymentError with everything that the cluster lacks: operators, Secrets, and keys in them."""
    missing = [*_missing_kinds(kubectl, overlay), *_missing_secrets(kubectl, overlay)]
    if missing:
        raise DeploymentError(f"the cluster of context {kubectl.context!r} lacks:\n  " + "\n  ".join(missing))


def _missing_kinds(kubectl: Kubectl, overlay: Overlay) -> Iterator[str]:
    there = kubectl.custom_kinds()
    for kind in sorted({one["kind"] for one in overlay.manifests} & _CUSTOM_KINDS.keys()):
        name, remedy = _CUSTOM_KINDS[kind]
        if name not in there:
            yield f"{name}: install {remedy}"


def _missing_secrets(kubectl: Kubectl, overlay: Overlay) -> Iterator[str]:
    for (namespace, name), keys in sorted(_referenced_secrets(overlay).items()):
        secret = kubectl.get("secret", name, namespace)
        if secret is None:
            wanted = f" with {', '.join(sorted(keys))}" if keys else ""
            yield f"the Secret {name} in namespace {namespace}{wanted}: see flink/README.md"
        else:
            for key in sorted(keys - secret.get("data", {}).keys()):
                yield f"the key {key} of the Secret {name} in namespace {namespace}"


def _referenced_secrets(overlay: Overlay) -> dict[tuple[str, str], set[str]]:
    """The Secrets that pods need to start, by namespace and name, with the referenced keys."""
    found: dict[tuple[str, str], set[str]] = {}
    for manifest in overlay.manifests:
        namespace = manifest["metadata"].get("namespace", "")
        for reference in _references(manifest):
            if not reference.get("optional"):
                name = str(reference.get("secretName") or reference["name"])
                keys = found.setdefault((namespace, name), set())
                keys.update([reference["key"]] if "key" in reference else [])
    return found


def _references(node: Any) -> Iterator[dict[str, Any]]:
    """All references to Secrets in a manifest, whether by `secretKeyRef` or by the `secret` of a volume."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key in ("secretKeyRef", "secret") and isinstance(value, dict):
                yield value
            yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)
