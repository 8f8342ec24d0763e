"""What a cluster must have for an overlay: operators, Secrets, and what scales the job."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flink.deployment import autoscaling
from flink.deployment.errors import DeploymentError
from flink.deployment.kubectl import Kubectl
from flink.deployment.overlay import Overlay

# The custom resource definition of each kind, and what installs it.
_CUSTOM_KINDS = {
    "FlinkDeployment": ("flinkdeployments.flink.apache.org", "the Flink Kubernetes Operator, 1.10 or newer"),
    "FlinkSessionJob": ("flinksessionjobs.flink.apache.org", "the Flink Kubernetes Operator, 1.10 or newer"),
    "KafkaTopic": ("kafkatopics.kafka.strimzi.io", "Strimzi, 0.49 or newer"),
    "KafkaUser": ("kafkausers.kafka.strimzi.io", "Strimzi, 0.49 or newer"),
    "PodMonitor": ("podmonitors.monitoring.coreos.com", "the Prometheus operator"),
    "ScaledObject": ("scaledobjects.keda.sh", "KEDA, or remove the component from the overlay"),
    "InferenceService": ("inferenceservices.serving.kserve.io", "KServe, or remove the component from the overlay"),
}


def check_cluster(kubectl: Kubectl, overlay: Overlay) -> None:
    """Raises DeploymentError with everything that the cluster lacks: operators, Secrets, their keys, a scale path."""
    missing = [
        *_missing_kinds(kubectl, overlay),
        *_missing_secrets(kubectl, overlay),
        *autoscaling.missing_scale_path(kubectl, overlay),
    ]
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
