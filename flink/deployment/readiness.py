"""Waits until the Flink operator has done what it was told."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from flink.deployment.errors import DeploymentError
from flink.deployment.kubectl import Kubectl, Manifest

POLL_SECONDS = 5.0
_FAILED = ("FAILED", "ROLLED_BACK")


def job_state(live: Manifest | None) -> str:
    """What the job does; empty when that is not known."""
    return str(_job_status(live).get("state") or "")


def last_savepoint(live: Manifest | None) -> str:
    """The savepoint of the last upgrade; empty when there is none."""
    path = str(_job_status(live).get("upgradeSavepointPath") or "")
    # Where the job went on from a checkpoint, the operator has a word here that is no place.
    return path if "://" in path else ""


def _job_status(live: Manifest | None) -> Manifest:
    return ((live or {}).get("status") or {}).get("jobStatus") or {}


def wait_for_needs(kubectl: Kubectl, manifests: Sequence[Manifest], seconds: float) -> None:
    """Waits for the topics, which the job reads, and for the Deployments; raises DeploymentError when one is late."""
    for manifest in manifests:
        name, namespace = manifest["metadata"]["name"], manifest["metadata"].get("namespace", "")
        place, limit = f"--namespace={namespace}", f"--timeout={seconds:.0f}s"
        if manifest["kind"] == "KafkaTopic":
            kubectl.run("wait", "--for=condition=Ready", f"kafkatopic/{name}", place, limit, seconds=seconds + 30)
        elif manifest["kind"] == "Deployment":
            kubectl.run("rollout", "status", f"deployment/{name}", place, limit, seconds=seconds + 30)


def wait_until_stable(
    kubectl: Kubectl, manifests: Sequence[Manifest], seconds: float, tell: Callable[[str], None]
) -> None:
    """Waits until the operator calls each of these stable, in what it was told last.

    Raises:
      DeploymentError: when it says that one failed, or was rolled back by itself, or when the time is over.
    """
    deadline = time.monotonic() + seconds
    for manifest in manifests:
        _wait_for_one(kubectl, manifest, deadline, tell)


def _wait_for_one(kubectl: Kubectl, manifest: Manifest, deadline: float, tell: Callable[[str], None]) -> None:
    kind, name = manifest["kind"], manifest["metadata"]["name"]
    told = ""
    while True:
        live = kubectl.get(kind.lower(), name, manifest["metadata"]["namespace"])
        state = _state(live)
        if state == "STABLE":
            return
        now = f"{kind} {name}: {state or 'waiting for the operator'}, job {job_state(live) or 'not there'}"
        if state in _FAILED or time.monotonic() > deadline:
            raise DeploymentError(f"{now}; {_error(live) or 'the operator gives no reason'}")
        if now != told:
            tell(now)
            told = now
        time.sleep(POLL_SECONDS)


def _state(live: Manifest | None) -> str:
    """The operator's word for it; empty as long as the word is about an older spec."""
    status = (live or {}).get("status") or {}
    seen = status.get("observedGeneration") or 0
    if live is None or seen < live["metadata"]["generation"]:
        return ""
    return str(status.get("lifecycleState") or "")


def _error(live: Manifest | None) -> str:
    return str(((live or {}).get("status") or {}).get("error") or "")
