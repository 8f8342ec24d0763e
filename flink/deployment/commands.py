"""The three commands: deploy, upgrade, rollback."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable

from flink.deployment import readiness, revisions
from flink.deployment.errors import DeploymentError
from flink.deployment.kubectl import Kubectl, Manifest
from flink.deployment.overlay import FLINK_KINDS, Overlay, check_cluster, check_name, render
from flink.deployment.revisions import Revisions

Tell = Callable[[str], None]


def deploy(environment: str, seconds: float, tell: Tell) -> None:
    """Deploys an overlay; also again, over a job that does not run, which then goes on from its last checkpoint."""
    check_name(environment)
    kubectl = Kubectl()
    overlay = render(kubectl, environment)
    known = revisions.read(kubectl, overlay.namespace)
    if known is not None:
        _check_same(known, overlay)
        if readiness.job_state(_live_job(kubectl, overlay)) == "RUNNING":
            raise DeploymentError(f"{environment!r} runs already: make upgrade-flink ENV={environment}")
    check_cluster(kubectl, overlay)
    _apply(kubectl, overlay, Revisions.after(known, overlay), seconds, tell)


def upgrade(environment: str, seconds: float, tell: Tell) -> None:
    """Brings the overlay as it now is to the cluster, where the job is stopped with a savepoint and goes on from it."""
    check_name(environment)
    kubectl = Kubectl()
    overlay = render(kubectl, environment)
    known = _known(kubectl, overlay)
    if known.current == revisions.text_of(overlay):
        tell(f"Nothing to upgrade: {environment!r} is what was applied last.")
        return
    check_cluster(kubectl, overlay)
    state = readiness.job_state(_live_job(kubectl, overlay))
    if state != "RUNNING":
        raise DeploymentError(
            f"the job is {state or 'not there'}, and only of a running one a savepoint can be made: go back with make "
            f"rollback-flink ENV={environment}, or on from its last checkpoint with make deploy-flink ENV={environment}"
        )
    _apply(kubectl, overlay, Revisions.after(known, overlay), seconds, tell)


def rollback(environment: str, seconds: float, tell: Tell) -> None:
    """Brings the revision before the last back. A second rollback undoes the first.

    A job that runs takes its state along, by a savepoint. One that does not is started from the savepoint of the last
    upgrade: what came since is scored again.
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
                "the job does not run, and the operator knows no savepoint of an upgrade: set initialSavepointPath "
                "and savepointRedeployNonce of its spec.job by hand (the savepoints lie at state.savepoints.dir)"
            )
        tell(f"The job does not run; it is started from {savepoint}.")
        applied = started_from(overlay, savepoint)
    _apply(kubectl, applied, Revisions.after(known, overlay), seconds, tell)


def started_from(overlay: Overlay, savepoint: str) -> Overlay:
    """The overlay with its job told to start anew from a savepoint, whatever it did before."""
    manifests = copy.deepcopy(list(overlay.manifests))
    for manifest in manifests:
        if manifest["kind"] in FLINK_KINDS and "job" in manifest["spec"]:
            # Any number that it was not before; seconds only grow.
            manifest["spec"]["job"].update(initialSavepointPath=savepoint, savepointRedeployNonce=int(time.time()))
    return Overlay(overlay.name, tuple(manifests))


def _known(kubectl: Kubectl, overlay: Overlay) -> Revisions:
    known = revisions.read(kubectl, overlay.namespace)
    if known is None:
        raise DeploymentError(
            f"nothing is deployed in namespace {overlay.namespace}: make deploy-flink ENV={overlay.name}"
        )
    _check_same(known, overlay)
    return known


def _check_same(known: Revisions, overlay: Overlay) -> None:
    if known.environment != overlay.name:
        raise DeploymentError(
            f"what is deployed in namespace {overlay.namespace} is {known.environment!r}, not {overlay.name!r}"
        )


def _live_job(kubectl: Kubectl, overlay: Overlay) -> Manifest | None:
    job = overlay.job
    return kubectl.get(job["kind"].lower(), job["metadata"]["name"], overlay.namespace)


def _apply(kubectl: Kubectl, overlay: Overlay, kept: Revisions, seconds: float, tell: Tell) -> None:
    tell(f"Applying {overlay.name!r} to the cluster of context {kubectl.context!r}.")
    kubectl.apply(overlay.others())
    readiness.wait_for_needs(kubectl, overlay.others(), seconds)
    # Before Flink's own: should that fail, a rollback knows what was before.
    revisions.write(kubectl, overlay.namespace, kept)
    kubectl.apply(overlay.of_flink())
    readiness.wait_until_stable(kubectl, overlay.of_flink(), seconds, tell)
    savepoint = readiness.last_savepoint(_live_job(kubectl, overlay))
    tell(f"{overlay.name!r} runs." + (f" Its last savepoint: {savepoint}" if savepoint else ""))
