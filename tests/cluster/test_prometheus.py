"""A real Prometheus, which scrapes what the PodMonitor says, from the namespace that the network policies name."""

from __future__ import annotations

import json
import re
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
from tests.cluster.on_kubernetes import ENVIRONMENT, KubernetesDeployment, wait_until
from tests.flink.kubernetes import overlays as rendered_overlays

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
IMAGE = "localhost/beam-serving-prometheus:tests"
FILES = Path(__file__).parent / "images" / "prometheus"


def scrape_configuration() -> dict[str, Any]:
    """What the Prometheus operator makes of the PodMonitor: its selector, port, path, interval and relabelings.

    Debian's Prometheus cannot ask Kubernetes for pods, so today's pods are listed, with the labels that it would get.
    """
    (monitor,) = rendered_overlays.of_kind(ENVIRONMENT, "PodMonitor").values()
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    labels = ",".join(f"{name}={value}" for name, value in monitor["spec"]["selector"]["matchLabels"].items())
    found = kubectl("get", "pods", f"--namespace={monitor['metadata']['namespace']}", f"--selector={labels}", "-ojson")
    return {
        "scrape_configs": [
            {
                "job_name": "flink",
                "metrics_path": endpoint["path"],
                "scrape_interval": endpoint["interval"],
                "scrape_timeout": endpoint["scrapeTimeout"],
                "static_configs": [_target(pod, endpoint["port"]) for pod in json.loads(found)["items"]],
                "relabel_configs": [
                    {"source_labels": one["sourceLabels"], "target_label": one["targetLabel"]}
                    for one in endpoint["relabelings"]
                ],
            }
        ]
    }


def _target(pod: dict[str, Any], port: str) -> dict[str, Any]:
    """The address of a pod's named port, with the pod's labels as Prometheus' discovery names them."""
    ports = [one for container in pod["spec"]["containers"] for one in container.get("ports", [])]
    (number,) = (one["containerPort"] for one in ports if one.get("name") == port)
    labels = {
        f"__meta_kubernetes_pod_label_{re.sub(r'[^a-zA-Z0-9_]', '_', name)}": value
        for name, value in pod["metadata"]["labels"].items()
    }
    return {"targets": [f"{pod['status']['podIP']}:{number}"], "labels": labels}


@pytest.fixture(scope="module")
def prometheus(running: KubernetesDeployment) -> Iterator[None]:
    """Prometheus, ready, with the pods of the deployment."""
    container_images.build(FILES, IMAGE, settings=False)
    containers.load(IMAGE)
    kubectl("create", "namespace", "monitoring")
    configuration = yaml.safe_dump(scrape_configuration())
    kubectl(
        "create", "configmap", "prometheus", "--namespace=monitoring", f"--from-literal=prometheus.yml={configuration}"
    )
    manifests = (FILES / "monitoring.yaml").read_text(encoding="utf-8").replace("IMAGE", IMAGE)
    kubectl("apply", "--filename=-", given=manifests)
    kubectl("wait", "--for=condition=Ready", "pod/prometheus", "--namespace=monitoring", "--timeout=90s")
    yield
    kubectl("delete", "namespace", "monitoring")


@pytest.fixture(scope="module")
def running(
    command: Command, deployment: KubernetesDeployment, version_model: SaveVersion, wine: Row
) -> KubernetesDeployment:
    """The deployment, whose model scores."""
    assert command("deploy") == 0
    deployment.first_scored(version_model(1), wine)
    return deployment


def query(expression: str) -> dict[str, float]:
    """The value of an expression for each kind of pod."""
    path = f"/api/v1/namespaces/monitoring/pods/prometheus:9090/proxy/api/v1/query?query={quote(expression)}"
    found = json.loads(kubectl("get", f"--raw={path}"))["data"]["result"]
    return {one["metric"].get("component", ""): float(one["value"][1]) for one in found}


def test_metrics_of_flink_and_of_the_pipeline_arrive(
    prometheus: None, running: KubernetesDeployment, wine: Row
) -> None:
    wait_until(lambda: query("up") == {"jobmanager": 1.0, "taskmanager": 1.0}, "both kinds of pods are scraped", 90.0)
    assert query("sum by (component) (flink_jobmanager_numRunningJobs)") == {"jobmanager": 1.0}
    running.score(*[wine] * 50)
    records = "sum by (component) (flink_taskmanager_job_task_operator_numRecordsIn)"
    wait_until(lambda: query(records).get("taskmanager", 0.0) > 0, "the operators' counts of records", 90.0)
    ours = 'sum by (component) ({__name__=~"flink_taskmanager_job_task_operator_beam_serving_records_total.*"})'
    wait_until(lambda: query(ours).get("taskmanager", 0.0) >= 50, "the pipeline's count of records", 90.0)
