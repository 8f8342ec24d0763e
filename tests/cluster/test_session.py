"""A session cluster: the job comes as a FlinkSessionJob, whose jar a pod of the namespace makes and serves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flink.cluster.kubernetes_client import kubectl
from models.records.record_type import Row
from tests.cluster.conftest import Command, SaveVersion
from tests.cluster.on_kubernetes import (
    ENVIRONMENT,
    IN_NAMESPACE,
    RATE,
    KubernetesDeployment,
    add_component,
    add_serving_option,
    edit_yaml,
    pods,
    require_true_labels,
    rest,
)
from tests.end_to_end.flink.flink_deployment import duplicates

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module", autouse=True)
def session_overlay(overlays: Path) -> None:
    """The overlay with the component `session`, and with what its patches say about the job in the FlinkSessionJob."""
    folder = overlays / ENVIRONMENT

    def without_job(operations: list[dict[str, Any]]) -> None:
        operations[:] = [one for one in operations if "/job/" not in one["path"] and "init" not in one["path"]]

    edit_yaml(folder / "small.yaml", without_job)
    smaller = "- op: replace\n  path: /spec/job/parallelism\n  value: 1\n"
    pod = "/spec/template/spec/initContainers/1/resources/requests/cpu"

    def change(content: dict[str, list[object]]) -> None:
        content["patches"] += [
            {"patch": smaller, "target": {"kind": "FlinkSessionJob"}},
            {"patch": f"- op: replace\n  path: {pod}\n  value: 100m\n", "target": {"kind": "Deployment"}},
        ]

    add_component("session")
    edit_yaml(folder / "kustomization.yaml", change)


def test_the_job_runs_on_the_session_cluster(
    command: Command, deployment: KubernetesDeployment, version_model: SaveVersion, wine: Row
) -> None:
    assert command("deploy") == 0
    assert rest("overview")["jobs-running"] == 1
    deployment.first_scored(version_model(1), wine)


def test_an_upgrade_restarts_the_job_and_not_the_cluster(
    command: Command, deployment: KubernetesDeployment, wine: Row
) -> None:
    job_managers = {pod["metadata"]["uid"] for pod in pods("jobmanager")}
    add_serving_option("result-headers", "cloud-events")
    with deployment.records_coming(wine, a_second=RATE) as sent:
        deployment.wait_for_more_results()
        assert command("upgrade") == 0
        deployment.wait_for_more_results()
    require_true_labels(deployment.results_of_all(sent))
    assert duplicates(deployment.results_to_the_end()) == 0
    assert any(name.startswith("ce_") for name, _ in deployment.latest().headers)
    assert {pod["metadata"]["uid"] for pod in pods("jobmanager")} == job_managers


def test_deleting_ends_the_job_and_the_cluster(command: Command) -> None:
    assert command("delete") == 0
    assert pods() == []
    assert kubectl("get", "flinkdeployments,flinksessionjobs", IN_NAMESPACE, "--output=name") == ""
