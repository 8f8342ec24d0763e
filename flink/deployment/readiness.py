"""Waits until the Flink operator has processed the applied manifests."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence

from flink.deployment import pods
from flink.deployment.errors import DeploymentError
from flink.deployment.kubectl import Kubectl, Manifest

POLL_SECONDS = 2.0
# How long what keeps a pod from starting may last: the broker or a registry may be away for a moment.
PATIENCE_SECONDS = 60.0
_FAILED = ("FAILED", "ROLLED_BACK")


def job_state(live: Manifest | None) -> str:
    """The state of the job, by Flink's name; empty if it is unknown."""
    return str(_job_status(live).get("state") or "")


def last_savepoint(live: Manifest | None) -> str:
    """The savepoint of the last upgrade; empty when there is none."""
    status = _job_status(live)
    # Operators before 1.8 only have the list of savepoints.
    latest = (status.get("savepointInfo") or {}).get("lastSavepoint") or {}
    path = str(status.get("upgradeSavepointPath") or latest.get("location") or "")
    # After an upgrade from the last checkpoint, the operator puts a keyword here instead of a location. Flink writes
    # the location of a local file with one slash.
    return path if ":/" in path else ""


def _job_status(live: Manifest | None) -> Manifest:
    return ((live or {}).get("status") or {}).get("jobStatus") or {}


def wait_for_needs(kubectl: Kubectl, manifests: Sequence[Manifest], seconds: float) -> None:
    """Waits for the topics and the Deployments that the job needs; raises DeploymentError when one takes too long."""
    for manifest in manifests:
        name, namespace = manifest["metadata"]["name"], manifest["metadata"].get("namespace", "")
        place, limit = f"--namespace={namespace}", f"--timeout={seconds:.0f}s"
        if manifest["kind"] == "KafkaTopic":
            kubectl.run("wait", "--for=condition=Ready", f"kafkatopic/{name}", place, limit, seconds=seconds + 30)
        elif manifest["kind"] == "Deployment":
            kubectl.run("rollout", "status", f"deployment/{name}", place, limit, seconds=seconds + 30)


def wait_until_stable(
    kubectl: Kubectl, manifests: Sequence[Manifest], seconds: float, report: Callable[[str], None]
) -> None:
    """Waits until the operator reports the latest version of each manifest as stable, and its pods are ready.

    Raises:
      DeploymentError: the operator reports a failure or has rolled back, a pod cannot start, or it takes too long; the
        message has the reason.
    """
    deadline = time.monotonic() + seconds
    for manifest in manifests:
        _wait_for_one(kubectl, manifest, deadline, report)


def _wait_for_one(kubectl: Kubectl, manifest: Manifest, deadline: float, report: Callable[[str], None]) -> None:
    kind, name = manifest["kind"], manifest["metadata"]["name"]
    namespace = manifest["metadata"]["namespace"]
    reported, troubled_since = "", None
    while True:
        live = kubectl.get(kind.lower(), name, namespace)
        state = _state(live)
        running = pods.listed(kubectl, namespace)
        if state == "STABLE" and pods.ready(running, "taskmanager") >= _task_managers(manifest):
            return
        problems = pods.problems(kubectl, namespace, running)
        troubled_since = (troubled_since or time.monotonic()) if problems else None
        now = f"{kind} {name}: {state or 'waiting for the operator'}, job {job_state(live) or 'missing'}"
        is_late = time.monotonic() > deadline
        if troubled_since is not None and time.monotonic() - troubled_since > PATIENCE_SECONDS:
            is_late = True
        if state in _FAILED or is_late:
            reason = "; ".join([*problems, *filter(None, [_error(live)])])
            raise DeploymentError(f"{now}; {reason or 'the operator gives no reason'}")
        now = "; ".join([now, *problems])
        if now != reported:
            report(now)
            reported = now
        time.sleep(POLL_SECONDS)


def _task_managers(manifest: Manifest) -> int:
    """The number of task managers that the job of a FlinkDeployment needs; 0 without a job of its own."""
    spec = manifest["spec"]
    if manifest["kind"] != "FlinkDeployment" or "job" not in spec:
        return 0
    slots = int(spec.get("flinkConfiguration", {}).get("taskmanager.numberOfTaskSlots", 1))
    return math.ceil(int(spec["job"].get("parallelism", 1)) / slots)


def _state(live: Manifest | None) -> str:
    """The state reported by the operator; empty while its report is about an older version of the spec."""
    status = (live or {}).get("status") or {}
    if live is None or _seen_generation(status) < live["metadata"]["generation"]:
        return ""
    return str(status.get("lifecycleState") or "")


def _seen_generation(status: Manifest) -> int:
    """The version of the spec that the operator's report is about; 0 before its first report.

    Operators before 1.8 have no `observedGeneration`; the spec that they reconciled last, JSON in the status, names its
    version instead (FLINK-33803, and SpecUtils of the operator's sources).
    """
    observed = int(status.get("observedGeneration") or 0)
    try:
        last = json.loads((status.get("reconciliationStatus") or {}).get("lastReconciledSpec") or "{}")
        reconciled = int(((last.get("resource_metadata") or {}).get("metadata") or {}).get("generation") or 0)
    except (ValueError, AttributeError, TypeError):
        return observed
    return max(observed, reconciled)


def _error(live: Manifest | None) -> str:
    return str(((live or {}).get("status") or {}).get("error") or "")
