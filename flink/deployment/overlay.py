"""An overlay: what it is rendered to, and what it needs of a cluster before it can be applied."""

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

# What a kind is called in the cluster, and what brings it there.
_CUSTOM_KINDS = {
    "FlinkDeployment": ("flinkdeployments.flink.apache.org", "the Flink Kubernetes Operator, 1.10 or newer"),
    "FlinkSessionJob": ("flinksessionjobs.flink.apache.org", "the Flink Kubernetes Operator, 1.10 or newer"),
    "KafkaTopic": ("kafkatopics.kafka.strimzi.io", "Strimzi, 0.49 or newer"),
    "KafkaUser": ("kafkausers.kafka.strimzi.io", "Strimzi, 0.49 or newer"),
    "PodMonitor": ("podmonitors.monitoring.coreos.com", "the Prometheus operator"),
    "InferenceService": ("inferenceservices.serving.kserve.io", "KServe, or leave the overlay's component out"),
}


@dataclass(frozen=True)
class Overlay:
    """The manifests of one environment.

    Attributes:
      name: the overlay's folder.
      manifests: as they are to be applied.
    """

    name: str
    manifests: Sequence[Manifest]

    @property
    def job(self) -> Manifest:
        """What holds the job: a FlinkDeployment, or in a session cluster a FlinkSessionJob."""
        return next(one for one in self.manifests if one["kind"] in FLINK_KINDS and "job" in one["spec"])

    @property
    def namespace(self) -> str:
        """Where Flink runs."""
        return str(self.job["metadata"]["namespace"])

    def of_flink(self) -> list[Manifest]:
        """The manifests that the Flink operator acts upon."""
        return [one for one in self.manifests if one["kind"] in FLINK_KINDS]

    def others(self) -> list[Manifest]:
        """All that Flink needs to be there before it."""
        return [one for one in self.manifests if one["kind"] not in FLINK_KINDS]


def check_name(name: str) -> None:
    """Raises UsageError when there is no such overlay."""
    known = sorted(path.parent.name for path in OVERLAYS.glob("*/kustomization.yaml"))
    if name not in known:
        given = f"there is no overlay {name!r}" if name else "no environment was named"
        raise UsageError(f"{given}: choose one with ENV=NAME, of {', '.join(known)}")


def render(kubectl: Kubectl, name: str) -> Overlay:
    """The overlay of that name; raises DeploymentError when it cannot be rendered, or still names an example."""
    text = kubectl.run("kustomize", str(OVERLAYS / name))
    if PLACEHOLDER in text:
        raise DeploymentError(
            f"the overlay {name!r} still names {PLACEHOLDER}: say where your images are under `images` "
            f"in flink/kubernetes/overlays/{name}/kustomization.yaml"
        )
    return Overlay(name, tuple(yaml.safe_load_all(text)))


def check_cluster(kubectl: Kubectl, overlay: Overlay) -> None:
    """Raises DeploymentError with all that the cluster lacks: operators, Secrets, keys in them."""
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
    """The Secrets that pods cannot start without, by namespace and name, with the keys that are named."""
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
    """What stands under `secretKeyRef` or as a volume's `secret`, anywhere."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key in ("secretKeyRef", "secret") and isinstance(value, dict):
                yield value
            yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)
