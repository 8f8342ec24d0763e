"""A spare task manager: how much sooner records are scored again when another one is lost."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from flink.cluster.kubernetes_client import kubectl
from models.records.record_type import Row
from tests.cluster.conftest import Command, SaveVersion
from tests.cluster.on_kubernetes import (
    IN_NAMESPACE,
    RATE,
    KubernetesDeployment,
    add_component,
    pods,
    require_true_labels,
    rest,
    wait_until,
)
from tests.end_to_end.flink.flink_deployment import longest_gap

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def busy_task_manager() -> str:
    """The name of the pod whose slot the job uses; Flink names task managers after their pods."""
    (busy,) = (one["id"] for one in rest("taskmanagers")["taskmanagers"] if one["freeSlots"] == 0)
    return str(busy)


def gap_after_a_loss(deployment: KubernetesDeployment, row: Row) -> float:
    """Deletes the task manager under load; the longest time in seconds in which no record was scored."""
    with deployment.records_coming(row, a_second=RATE) as sent:
        deployment.wait_for_more_results()
        kubectl("delete", "pod", busy_task_manager(), IN_NAMESPACE, "--wait=false")
        deployment.wait_for_more_results(20 * RATE)
    results = deployment.results_of_all(sent)
    require_true_labels(results)
    return longest_gap(results)


def spare_is_ready() -> bool:
    """Whether there is a task manager without work, whose worker pool has a process with all imports."""
    spare = [one["id"] for one in rest("taskmanagers")["taskmanagers"] if one["freeSlots"] == 1]
    names = [pod["metadata"]["name"] for pod in pods("taskmanager")]
    return any(name in names and "is ready" in _log_of_pool(name) for name in spare)


def _log_of_pool(pod: str) -> str:
    return kubectl("logs", pod, IN_NAMESPACE, "--container=worker-pool")


def test_a_spare_task_manager_shortens_the_gap(
    command: Command,
    deployment: KubernetesDeployment,
    version_model: SaveVersion,
    wine: Row,
    record_property: Callable[[str, object], None],
) -> None:
    assert command("deploy") == 0
    deployment.first_scored(version_model(1), wine)
    without = gap_after_a_loss(deployment, wine)
    add_component("standby")
    assert command("upgrade") == 0
    wait_until(spare_is_ready, "the spare task manager is ready", 240.0)
    with_spare = gap_after_a_loss(deployment, wine)
    print(f"\nno record was scored for {without:.1f} s, with a spare task manager for {with_spare:.1f} s")
    record_property("gap_s", round(without, 1))
    record_property("gap_with_spare_s", round(with_spare, 1))
    assert with_spare < without
