"""Why the pods of a deployment do not start: what Kubernetes reports about them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from flink.deployment.kubectl import Kubectl, Manifest

_SELECTOR = "app=beam-serving"
_SHOWN = 600
# These reasons of a waiting container are usual while a pod starts.
_USUAL = ("ContainerCreating", "PodInitializing", "")


def ready(pods: Sequence[Manifest], component: str) -> int:
    """The number of pods of a component, `jobmanager` or `taskmanager`, of which all containers are ready."""
    return sum(1 for pod in pods if _component(pod) == component and _is_ready(pod))


def listed(kubectl: Kubectl, namespace: str) -> list[Manifest]:
    """The pods of the deployment, without those that are being deleted."""
    found = kubectl.items("pods", namespace, _SELECTOR)
    return [pod for pod in found if not pod["metadata"].get("deletionTimestamp")]


def problems(kubectl: Kubectl, namespace: str, pods: Sequence[Manifest]) -> list[str]:
    """What keeps pods from being created or started, one sentence each; empty when nothing is known to."""
    found = [problem for pod in pods for problem in _of_pod(pod)]
    for deployment in kubectl.items("deployments", namespace, _SELECTOR):
        found += _not_created(deployment)
    if pods and not any(_component(pod) == "taskmanager" for pod in pods):
        # Flink creates task managers itself, and only logs when that is refused.
        found += _exhausted_quotas(kubectl, namespace)
    return found


def _not_created(deployment: Manifest) -> Iterator[str]:
    for condition in (deployment.get("status") or {}).get("conditions", []):
        if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
            yield f"pods of {deployment['metadata']['name']} cannot be created: {condition['message']}"


def _of_pod(pod: Manifest) -> Iterator[str]:
    name, status = pod["metadata"]["name"], pod.get("status") or {}
    for condition in status.get("conditions", []):
        if condition["type"] == "PodScheduled" and condition.get("reason") == "Unschedulable":
            yield f"pod {name} fits on no node: {condition.get('message', '')}"
    for container in (*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])):
        waiting = container.get("state", {}).get("waiting") or {}
        if waiting.get("reason", "") not in _USUAL:
            yield f"pod {name}, container {container['name']}: {_reason(container, waiting)}"


def _reason(container: Manifest, waiting: Manifest) -> str:
    ended = container.get("lastState", {}).get("terminated") or {}
    if ended:
        # With terminationMessagePolicy FallbackToLogsOnError, the message is the end of the container's log.
        said = str(ended.get("message") or "").strip()[-_SHOWN:]
        return f"it ended with exit status {ended.get('exitCode')}" + (f": {said}" if said else "")
    return f"{waiting['reason']}: {waiting.get('message', '')}"


def _exhausted_quotas(kubectl: Kubectl, namespace: str) -> Iterator[str]:
    for quota in kubectl.items("resourcequotas", namespace):
        status: dict[str, Any] = quota.get("status") or {}
        hard, used = status.get("hard", {}), status.get("used", {})
        figures = ", ".join(f"{name} {used.get(name, 0)} of {limit}" for name, limit in sorted(hard.items()))
        yield f"no task manager was created; the ResourceQuota {quota['metadata']['name']} has used {figures}"


def _component(pod: Manifest) -> str:
    return str(pod["metadata"].get("labels", {}).get("component", ""))


def _is_ready(pod: Manifest) -> bool:
    conditions = (pod.get("status") or {}).get("conditions", [])
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
