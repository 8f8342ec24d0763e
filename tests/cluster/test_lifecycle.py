"""The life of a deployment by the project's own commands; each test goes on where the one before it ended."""

from __future__ import annotations

import json
import subprocess

import pytest

from flink.cluster.kubernetes_client import kubectl
from models.records.record_type import Row
from tests.cluster.conftest import Command, SaveVersion
from tests.cluster.on_kubernetes import (
    IN_NAMESPACE,
    INPUTS,
    RATE,
    KubernetesDeployment,
    add_serving_option,
    pods,
    require_true_labels,
    rest,
    set_in_overlay,
)
from tests.end_to_end.deployment import Result
from tests.end_to_end.flink.flink_deployment import duplicates

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def job_spec() -> dict[str, object]:
    spec: dict[str, object] = json.loads(
        kubectl("get", "flinkdeployment", "beam-serving", IN_NAMESPACE, "--output=jsonpath={.spec.job}")
    )
    return spec


def is_cloud_event(result: Result) -> bool:
    return any(name.startswith("ce_") for name, _ in result.headers)


def test_what_is_deployed_scores_records(
    command: Command, deployment: KubernetesDeployment, version_model: SaveVersion, wine: Row
) -> None:
    assert command("deploy") == 0
    assert rest("overview")["jobs-running"] == 1
    assert len(pods("taskmanager")) == 1
    deployment.first_scored(version_model(1), wine)
    assert deployment.latest().version == 1


def test_pods_are_confined_as_the_manifests_say(deployment: KubernetesDeployment) -> None:
    (task_manager,) = pods("taskmanager")
    name = task_manager["metadata"]["name"]
    for container, user in (("flink-main-container", "9999"), ("worker-pool", "10001")):
        inside = ("exec", name, IN_NAMESPACE, f"--container={container}", "--", "sh", "-c")
        assert kubectl(*inside, "id -u").strip() == user
        written = kubectl(*inside, "touch /opt/file 2>&1 || true; touch /file 2>&1 || true")
        assert written.count("Read-only file system") == 2


def test_the_network_policies_are_enforced(deployment: KubernetesDeployment) -> None:
    (task_manager,) = pods("taskmanager")
    (job_manager,) = pods("jobmanager")
    python = ("exec", task_manager["metadata"]["name"], IN_NAMESPACE, "--container=worker-pool", "--", "python", "-c")

    def reaches(host: str, port: int) -> bool:
        code = f"import socket; socket.create_connection(({host!r}, {port}), 3).close(); print('connected')"
        done = subprocess.run(["kubectl", *python, code], capture_output=True, text=True, timeout=60)
        return "connected" in done.stdout

    address = job_manager["status"]["podIP"]
    assert reaches(address, 6123)
    assert reaches("kafka-kafka-bootstrap.kafka.svc", 9093)
    # The metrics of another pod are for Prometheus' namespace alone, and plain Kafka for no pod.
    assert not reaches(address, 9249)
    assert not reaches("10.100.0.1", 22)


def test_a_swap_changes_the_label_and_the_answer_together(
    deployment: KubernetesDeployment, version_model: SaveVersion, wine: Row
) -> None:
    with deployment.records_coming(wine, a_second=RATE) as sent:
        deployment.publish("wine", version_model(2), INPUTS)
        deployment.wait_for_version(2)
    results = deployment.results_of_all(sent)
    require_true_labels(results)
    assert {result.version for result in results} == {1, 2}


def test_an_upgrade_keeps_the_state_and_applies_the_option(
    command: Command, deployment: KubernetesDeployment, wine: Row, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not is_cloud_event(deployment.latest())
    add_serving_option("result-headers", "cloud-events")
    with deployment.records_coming(wine, a_second=RATE) as sent:
        deployment.wait_for_more_results()
        assert command("upgrade") == 0
        deployment.wait_for_more_results()
    assert "Its last savepoint: file:/state/savepoints/" in capsys.readouterr().out
    results = deployment.results_of_all(sent)
    require_true_labels(results)
    assert {result.version for result in results} == {2}
    assert duplicates(deployment.results_to_the_end()) == 0
    assert is_cloud_event(deployment.latest())


def test_an_unchanged_overlay_is_no_upgrade(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("upgrade") == 0
    assert "Nothing to upgrade" in capsys.readouterr().out
    assert command("deploy") == 1
    assert "already running" in capsys.readouterr().err


def test_a_rollback_restores_the_option_and_keeps_the_state(
    command: Command, deployment: KubernetesDeployment, wine: Row
) -> None:
    with deployment.records_coming(wine, a_second=RATE) as sent:
        deployment.wait_for_more_results()
        assert command("rollback") == 0
        deployment.wait_for_more_results()
    results = deployment.results_of_all(sent)
    require_true_labels(results)
    assert duplicates(deployment.results_to_the_end()) == 0
    assert not is_cloud_event(deployment.latest())


def test_more_parallelism_is_more_task_managers_and_scores_nothing_again(
    command: Command, deployment: KubernetesDeployment, wine: Row
) -> None:
    set_in_overlay("/spec/job/parallelism", 2)
    with deployment.records_coming(wine, a_second=RATE) as sent:
        deployment.wait_for_more_results()
        assert command("upgrade") == 0
        deployment.wait_for_more_results()
    assert len(pods("taskmanager")) == 2
    assert job_spec()["parallelism"] == 2
    results = deployment.results_of_all(sent)
    require_true_labels(results)
    assert {result.version for result in results} == {2}
    assert duplicates(deployment.results_to_the_end()) == 0


def test_deleting_ends_the_job_and_leaves_what_holds_data(command: Command) -> None:
    assert command("delete") == 0
    assert pods() == []
    assert kubectl("get", "flinkdeployments", IN_NAMESPACE, "--output=name") == ""
    kept = kubectl("get", "secrets,persistentvolumeclaims", IN_NAMESPACE, "--output=name")
    assert "secret/kafka-client" in kept
    assert "persistentvolumeclaim/flink-state" in kept
    assert command("delete") == 1
