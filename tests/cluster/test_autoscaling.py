"""The job's parallelism follows the backlog: a real KEDA reads the lag from the broker and scales the job."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flink.cluster.kubernetes_client import kubectl
from flink.cluster.platform import keda
from models.records.record_type import Row
from tests.cluster.conftest import Command, SaveVersion
from tests.cluster.on_kubernetes import (
    IN_NAMESPACE,
    RATE,
    KubernetesDeployment,
    add_component,
    add_serving_option,
    edit_yaml,
    pods,
    require_true_labels,
    wait_until,
)
from tests.end_to_end.flink.flink_deployment import duplicates

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
# At the rate of this test, several times as many records wait at any time: so two task managers are wanted.
LAG = 10


def scale_soon(overlays: Path) -> None:
    """The component, with a threshold for the rate of this test, and without the patience that restarts deserve."""

    def change(scaled: Any) -> None:
        spec = scaled["spec"]
        spec["maxReplicaCount"] = 2
        spec["pollingInterval"] = 5
        behavior = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
        behavior["scaleUp"] = {"stabilizationWindowSeconds": 0}
        behavior["scaleDown"] = {"stabilizationWindowSeconds": 60}
        spec["triggers"][0]["metadata"]["lagThreshold"] = str(LAG)

    add_component("autoscaling")
    edit_yaml(overlays.parent / "components" / "autoscaling" / "scaled-object.yaml", change)


def parallelism() -> int:
    """What the spec says."""
    found = kubectl("get", "flinkdeployment", "beam-serving", IN_NAMESPACE, "--output=jsonpath={.spec.job.parallelism}")
    return int(found)


def runs_with(task_managers: int) -> bool:
    """Whether the operator reports the job as running and stable, with so many task managers and no other."""
    wanted = "--output=jsonpath={.status.lifecycleState} {.status.jobStatus.state}"
    reported = kubectl("get", "flinkdeployment", "beam-serving", IN_NAMESPACE, wanted)
    return reported == "STABLE RUNNING" and len(pods("taskmanager")) == task_managers


def test_a_backlog_adds_a_task_manager_and_its_end_takes_it_away(
    overlays: Path,
    command: Command,
    deployment: KubernetesDeployment,
    version_model: SaveVersion,
    wine: Row,
    capsys: pytest.CaptureFixture[str],
) -> None:
    keda.install()
    assert command("deploy") == 0
    deployment.first_scored(version_model(1), wine)
    scale_soon(overlays)
    assert command("upgrade") == 0
    assert parallelism() == 1
    with deployment.records_coming(wine, a_second=RATE) as sent:
        up = wait_until(lambda: parallelism() == 2, "KEDA raises the parallelism", 240.0)
        running = wait_until(lambda: runs_with(2), "two task managers run the job", 300.0)
        deployment.wait_for_more_results()
        # An upgrade of anything else leaves the parallelism to KEDA.
        add_serving_option("result-headers", "cloud-events")
        assert command("upgrade") == 0
        assert parallelism() == 2
        deployment.wait_for_more_results()
    results = deployment.results_of_all(sent, seconds=240.0)
    require_true_labels(results)
    assert duplicates(deployment.results_to_the_end()) == 0
    down = wait_until(lambda: parallelism() == 1, "KEDA lowers the parallelism", 300.0)
    wait_until(lambda: runs_with(1), "one task manager runs the job", 300.0)
    require_true_labels(deployment.results_of(deployment.send([wine] * 50), seconds=240.0))
    with capsys.disabled():
        print(f"\nraised after {up:.0f} s, running {running:.0f} s later, lowered {down:.0f} s after the last record")
