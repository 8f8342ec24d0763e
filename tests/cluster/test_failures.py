"""Parts of a running deployment that fail: no record is lost, no label is false, and it goes on by itself."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from flink.cluster import processes
from flink.cluster.kubernetes_client import kubectl
from flink.cluster.node import containers, single_node
from flink.cluster.platform import kafka
from models.records.record_type import Row
from tests.cluster.conftest import Command, SaveVersion
from tests.cluster.on_kubernetes import (
    IN_NAMESPACE,
    INPUTS,
    RATE,
    KubernetesDeployment,
    leading_job_manager,
    name_of,
    pods,
    require_true_labels,
    set_in_overlay,
)
from tests.end_to_end.flink.flink_deployment import duplicates, longest_gap

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def running(
    command: Command, deployment: KubernetesDeployment, version_model: SaveVersion, wine: Row
) -> KubernetesDeployment:
    """The deployment with two job managers, and a model that scores."""
    set_in_overlay("/spec/jobManager/replicas", 2)
    assert command("deploy") == 0
    deployment.first_scored(version_model(1), wine)
    return deployment


def delete_task_manager() -> None:
    kubectl("delete", "pod", name_of("taskmanager"), IN_NAMESPACE, "--wait=false")


def delete_leading_job_manager() -> None:
    """The other job manager takes over."""
    kubectl("delete", "pod", leading_job_manager(), IN_NAMESPACE, "--wait=false")


def kill_workers() -> None:
    """Kills the Python processes of the worker pool with SIGKILL, but the pool itself, which is process 1."""
    others = "[int(name) for name in os.listdir('/proc') if name.isdigit() and int(name) not in (1, os.getpid())]"
    code = f"import os; [os.kill(process, 9) for process in {others}]"
    container = "--container=worker-pool"
    kubectl("exec", name_of("taskmanager"), IN_NAMESPACE, container, "--", "python", "-c", code)


def kill_worker_container() -> None:
    """Kills the whole container from outside, the pool included, which ignores SIGKILL from inside."""
    (pod,) = pods("taskmanager")
    statuses = {one["name"]: one for one in pod["status"]["containerStatuses"]}
    containers.kill(statuses["worker-pool"]["containerID"].removeprefix("containerd://"))


def stop_kubelet_for_a_minute() -> None:
    processes.stop("kubelet")
    time.sleep(60)
    single_node.start_kubelet()


def restart_broker() -> None:
    kafka.kill()
    time.sleep(5)
    kafka.start()


@pytest.mark.parametrize(
    "fail",
    [
        kill_workers,
        kill_worker_container,
        delete_task_manager,
        delete_leading_job_manager,
        stop_kubelet_for_a_minute,
        restart_broker,
    ],
)
def test_nothing_is_lost_and_no_label_is_false(
    running: KubernetesDeployment,
    version_model: SaveVersion,
    wine: Row,
    fail: Callable[[], None],
    record_property: Callable[[str, object], None],
) -> None:
    first = len(running.results_to_the_end())
    with running.records_coming(wine, a_second=RATE) as sent:
        running.wait_for_more_results()
        fail()
        failed = time.monotonic()
        # Published while the job may be down: what restarts must not score with the older one any more.
        published = running.publish("wine", version_model(_next(running)), INPUTS).model_version
        running.wait_for_version(published)
        recovered = time.monotonic() - failed
        running.wait_for_more_results()
    results = running.results_of_all(sent)
    later = running.results_to_the_end()[first:]
    require_true_labels(later)
    gap = longest_gap(results)
    figures = {"gap_s": round(gap, 1), "new_model_after_s": round(recovered, 1), "repeated": duplicates(later)}
    print(f"\n{fail.__name__}: {figures}, {len(results)} records")
    for name, value in figures.items():
        record_property(name, value)
    assert len(results) == sum(map(len, sent))


def _next(running: KubernetesDeployment) -> int:
    version = running.latest().version
    assert version is not None
    return version + 1
