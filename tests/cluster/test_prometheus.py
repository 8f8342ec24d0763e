"""A real Prometheus, which scrapes what the PodMonitor says, from the namespace that the network policies name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import yaml

from flink.cluster.building import container_images
from flink.cluster.kubernetes_client import kubectl
from flink.cluster.node import containers
from models.records.record_type import Row
from tests.cluster.conftest import Command, SaveVersion
from tests.cluster.on_kubernetes import ENVIRONMENT, IN_NAMESPACE, KubernetesDeployment, wait_until
from tests.flink.kubernetes import overlays as rendered_overlays

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
IMAGE = "localhost/beam-serving-prometheus:tests"
FILES = Path(__file__).parent / "images" / "prometheus"


def scrape_configuration() -> dict[str, Any]:
    """What the Prometheus operator makes of the PodMonitor: its selector, port, path, interval and relabelings."""
    (monitor,) = rendered_overlays.of_kind(ENVIRONMENT, "PodMonitor").values()
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    labels = monitor["spec"]["selector"]["matchLabels"]
    keep = [
        {"source_labels": [f"__meta_kubernetes_pod_label_{name}"], "regex": value, "action": "keep"}
        for name, value in labels.items()
    ]
    port = {
        "source_labels": ["__meta_kubernetes_pod_container_port_name"],
        "regex": endpoint["port"],
        "action": "keep",
    }
    relabelings = [
        {"source_labels": one["sourceLabels"], "target_label": one["targetLabel"]} for one in endpoint["relabelings"]
    ]
    pod = {"source_labels": ["__meta_kubernetes_pod_name"], "target_label": "pod"}
    return {
        "scrape_configs": [
            {
                "job_name": "flink",
                "metrics_path": endpoint["path"],
                "scrape_interval": endpoint["interval"],
                "scrape_timeout": endpoint["scrapeTimeout"],
                "kubernetes_sd_configs": [{"role": "pod", "namespaces": {"names": [monitor["metadata"]["namespace"]]}}],
                "relabel_configs": [*keep, port, *relabelings, pod],
            }
        ]
    }


@pytest.fixture(scope="module")
def prometheus(cluster: None) -> Iterator[None]:
    """Prometheus, ready."""
    container_images.build(FILES, IMAGE, settings=False)
    containers.load(IMAGE)
    manifests = (FILES / "monitoring.yaml").read_text(encoding="utf-8").replace("IMAGE", IMAGE)
    kubectl("apply", "--filename=-", given=manifests)
    configuration = yaml.safe_dump(scrape_configuration())
    kubectl(
        "create", "configmap", "prometheus", "--namespace=monitoring", f"--from-literal=prometheus.yml={configuration}"
    )
    kubectl("wait", "--for=condition=Ready", "pod/prometheus", "--namespace=monitoring", "--timeout=90s")
    yield
    kubectl("delete", "namespace", "monitoring")
    kubectl("delete", "role,rolebinding", "prometheus", IN_NAMESPACE)


def query(expression: str) -> dict[str, float]:
    """The value of an expression for each kind of pod."""
    path = f"/api/v1/namespaces/monitoring/pods/prometheus:9090/proxy/api/v1/query?query={quote(expression)}"
    found = json.loads(kubectl("get", f"--raw={path}"))["data"]["result"]
    return {one["metric"].get("component", ""): float(one["value"][1]) for one in found}


def test_metrics_of_flink_and_of_the_pipeline_arrive(
    prometheus: None, command: Command, deployment: KubernetesDeployment, version_model: SaveVersion, wine: Row
) -> None:
    assert command("deploy") == 0
    deployment.first_scored(version_model(1), wine)
    wait_until(lambda: query("up") == {"jobmanager": 1.0, "taskmanager": 1.0}, "both kinds of pods are scraped", 90.0)
    assert query("sum by (component) (flink_jobmanager_numRunningJobs)") == {"jobmanager": 1.0}
    deployment.score(*[wine] * 50)
    records = "sum by (component) (flink_taskmanager_job_task_operator_numRecordsIn)"
    wait_until(lambda: query(records).get("taskmanager", 0.0) > 0, "the operators' counts of records", 90.0)
