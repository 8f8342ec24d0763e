"""The four commands: deploy, upgrade, rollback, delete."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence

from flink.deployment import autoscaling, readiness, revisions
from flink.deployment.errors import DeploymentError
from flink.deployment.kubectl import Kubectl, Manifest
from flink.deployment.overlay import FLINK_KINDS, KEPT_KINDS, Overlay, check_name, render
from flink.deployment.requirements import check_cluster
from flink.deployment.revisions import Revisions

Report = Callable[[str], None]


def deploy(environment: str, seconds: float, report: Report) -> None:
    """Deploys an overlay. If it is deployed but its job does not run, the job resumes from its last checkpoint.

    Args:
      environment: the name of the overlay.
      seconds: how long to wait for each part to become ready.
      report: called with messages for the user.

    Raises:
      UsageError: the overlay does not exist.
      DeploymentError: the cluster lacks something, the job runs already, or the deployment fails.
    """
    check_name(environment)
    kubectl = Kubectl()
    overlay = render(kubectl, environment)
    known = revisions.read(kubectl, overlay.namespace)
    check_cluster(kubectl, overlay)
    live = _live_job(kubectl, overlay)
    _check_not_being_deleted(live)
    if known is not None:
        _check_same(known, overlay)
        if readiness.job_state(live) == "RUNNING":
            raise DeploymentError(
                f"{environment!r} is already running; to upgrade it, run make upgrade-flink ENV={environment}"
            )
    _apply(kubectl, overlay, Revisions.after(known, overlay), seconds, report)


def upgrade(environment: str, seconds: float, report: Report) -> None:
    """Applies the changed overlay; the operator stops the job with a savepoint and restarts it from there.

    Parallelism that a ScaledObject sets remains as it is.

    Arguments and errors are those of `deploy`, except that the job must run.
    """
    check_name(environment)
    kubectl = Kubectl()
    overlay = render(kubectl, environment)
    known = _known(kubectl, overlay)
    if known.current == revisions.text_of(overlay):
        report(f"Nothing to upgrade: {environment!r} has not changed since it was last applied.")
        return
    check_cluster(kubectl, overlay)
    state = readiness.job_state(_live_job(kubectl, overlay))
    if state != "RUNNING":
        raise DeploymentError(
            f"the job is {state or 'missing'}, and a savepoint needs a running job: roll back with make rollback-flink "
            f"ENV={environment}, or resume from the last checkpoint with make deploy-flink ENV={environment}"
        )
    _apply(kubectl, overlay, Revisions.after(known, overlay), seconds, report)


def rollback(environment: str, seconds: float, report: Report) -> None:
    """Restores the previous revision. A second rollback undoes the first.

    A running job keeps its state by a savepoint. A job that does not run is started from the savepoint of the last
    upgrade, and later records are scored again. Arguments and errors are those of `deploy`.
    """
    check_name(environment)
    kubectl = Kubectl()
    known = _known(kubectl, render(kubectl, environment))
    overlay = known.rolled_back()
    check_cluster(kubectl, overlay)
    live = _live_job(kubectl, overlay)
    applied = overlay
    if readiness.job_state(live) != "RUNNING":
        savepoint = readiness.last_savepoint(live)
        if not savepoint:
            raise DeploymentError(
                "the job does not run, and the operator has no savepoint of an upgrade: set initialSavepointPath and "
                "savepointRedeployNonce in its spec.job by hand (savepoints are in state.savepoints.dir)"
            )
        report(f"The job does not run; starting it from {savepoint}.")
        applied = started_from(overlay, savepoint)
    _apply(kubectl, applied, Revisions.after(known, overlay), seconds, report)


def delete(environment: str, seconds: float, report: Report) -> None:
    """Deletes a deployment as it was applied last; the namespace with its Secrets, topics and savepoints remain.

    Flink's resources go first, and must be gone before the rest: the operator ends the job when they are deleted, and
    needs the service account and the network policies for that. Arguments and errors are those of `deploy`.
    """
    check_name(environment)
    kubectl = Kubectl()
    overlay = _known(kubectl, render(kubectl, environment)).applied()
    report(f"Deleting {environment!r} from the cluster of context {kubectl.context!r}.")
    for manifest in sorted(overlay.of_flink(), key=lambda one: "job" not in one["spec"]):
        try:
            _delete(kubectl, manifest, seconds)
        except DeploymentError as error:
            raise DeploymentError(
                f"{error}; the Flink Kubernetes Operator has to end the job first: check that it runs and watches the "
                f"namespace {overlay.namespace}, and delete again"
            ) from error
    _delete_all(kubectl, overlay.others(), seconds)
    kubectl.delete("configmap", revisions.NAME, overlay.namespace, seconds)
    report(f"{environment!r} is deleted. The namespace, its Secrets, the topics and the savepoints remain.")


def _delete_all(kubectl: Kubectl, manifests: Sequence[Manifest], seconds: float) -> None:
    """Deletes what was applied, the last first; what holds data is kept."""
    for manifest in reversed(manifests):
        if manifest["kind"] not in KEPT_KINDS:
            _delete(kubectl, manifest, seconds)


def _delete(kubectl: Kubectl, manifest: Manifest, seconds: float) -> None:
    metadata = manifest["metadata"]
    kubectl.delete(manifest["kind"], metadata["name"], metadata.get("namespace", ""), seconds)


def started_from(overlay: Overlay, savepoint: str) -> Overlay:
    """A copy of the overlay that makes the operator restart the job from a savepoint, whatever its state is."""
    manifests = copy.deepcopy(list(overlay.manifests))
    for manifest in manifests:
        if manifest["kind"] in FLINK_KINDS and "job" in manifest["spec"]:
            # The operator only acts on a nonce that differs from the last one, and the time in seconds always does.
            manifest["spec"]["job"].update(initialSavepointPath=savepoint, savepointRedeployNonce=int(time.time()))
    return Overlay(overlay.name, tuple(manifests))


def _known(kubectl: Kubectl, overlay: Overlay) -> Revisions:
    known = revisions.read(kubectl, overlay.namespace)
    if known is None:
        raise DeploymentError(
            f"nothing is deployed in namespace {overlay.namespace}; run make deploy-flink ENV={overlay.name}"
        )
    _check_same(known, overlay)
    return known


def _check_not_being_deleted(live: Manifest | None) -> None:
    if live is not None and live["metadata"].get("deletionTimestamp"):
        raise DeploymentError(
            f"{live['kind']} {live['metadata']['name']} is still being deleted: wait until it is gone; if it stays, "
            "check that the Flink Kubernetes Operator runs"
        )


def _check_same(known: Revisions, overlay: Overlay) -> None:
    if known.environment != overlay.name:
        raise DeploymentError(
            f"namespace {overlay.namespace} contains the environment {known.environment!r}, not {overlay.name!r}"
        )


def _live_job(kubectl: Kubectl, overlay: Overlay) -> Manifest | None:
    job = overlay.job
    return kubectl.get(job["kind"].lower(), job["metadata"]["name"], overlay.namespace)


def _apply(kubectl: Kubectl, overlay: Overlay, kept: Revisions, seconds: float, report: Report) -> None:
    report(f"Applying {overlay.name!r} to the cluster of context {kubectl.context!r}.")
    kubectl.apply(overlay.others())
    readiness.wait_for_needs(kubectl, overlay.others(), seconds)
    # Saved before Flink's own manifests are applied: if these fail, a rollback still knows the previous revision.
    revisions.write(kubectl, overlay.namespace, kept)
    applied = autoscaling.with_live_parallelism(overlay, _live_job(kubectl, overlay)).of_flink()
    kubectl.apply(applied)
    readiness.wait_until_stable(kubectl, applied, seconds, report)
    # Only now, because pods of the previous revision use them until they are replaced.
    _delete_all(kubectl, kept.dropped(), seconds)
    savepoint = readiness.last_savepoint(_live_job(kubectl, overlay))
    report(f"{overlay.name!r} is running." + (f" Its last savepoint: {savepoint}" if savepoint else ""))
