"""Models on servers behind a Service without an address: calls go to all pods, and to the others when one ends."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from flink.cluster.building import project_images
from flink.cluster.kubernetes_client import kubectl
from flink.cluster.platform import prerequisites
from models.model_topic.descriptor import ModelDescriptor
from models.records.record_type import Row
from tests.cluster.conftest import Command, SaveVersion
from tests.cluster.on_kubernetes import (
    ENVIRONMENT,
    IN_NAMESPACE,
    INPUTS,
    RATE,
    KubernetesDeployment,
    add_component,
    edit_yaml,
    require_true_labels,
    wait_until,
)
from tests.models.scorers.servers.tensorflow_serving_replica import SERVER

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
LOCATION = "grpc://tensorflow-serving:8500/wine"
SELECTOR = "--selector=app=tensorflow-serving"


def add_model_servers(overlays: Path) -> None:
    """The overlay with the component `tensorflow-serving` and our stand-in for its program, which is in no registry."""
    folder = overlays / ENVIRONMENT
    image, _, tag = project_images.NAMES["worker"].rpartition(":")
    command = ["python", "/server/server.py", "--host=0.0.0.0", "--grpc-port=8500", "--rest-port=8501"]
    container, volumes = "/spec/template/spec/containers/0", "/spec/template/spec/volumes"
    operations: list[dict[str, Any]] = [
        {"path": f"{container}/command", "value": [*command, "--model=wine=/models/wine/1:1"]},
        {"path": f"{container}/args", "value": []},
        # It ends when its standard input does.
        {"path": f"{container}/stdin", "value": True},
        {"path": f"{container}/resources/requests/cpu", "value": "50m"},
        {
            "path": f"{container}/volumeMounts/-",
            "value": {"name": "server", "mountPath": "/server"},
        },
        {"path": f"{volumes}/0", "value": {"name": "models", "configMap": model_files()}},
        {"path": f"{volumes}/-", "value": {"name": "server", "configMap": {"name": "model-server"}}},
    ]
    patch = [{"op": "add", **one} for one in operations]
    # `add` would insert it before the claim.
    patch[5]["op"] = "replace"
    (folder / "servers.yaml").write_text(yaml.safe_dump(patch), encoding="utf-8")
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim"}
    gone = {**claim, "metadata": {"name": "tensorflow-serving-models", "namespace": prerequisites.NAMESPACE}}

    def change(content: dict[str, Any]) -> None:
        content["images"].append({"name": "tensorflow/serving", "newName": image, "newTag": tag})
        content["patches"] += [
            {"path": "servers.yaml", "target": {"kind": "Deployment"}},
            {"patch": yaml.safe_dump({"$patch": "delete", **gone})},
        ]

    add_component("tensorflow-serving")
    edit_yaml(folder / "kustomization.yaml", change)


def model_files() -> dict[str, Any]:
    """The volume: a ConfigMap has no folders, so its keys are file names with `_` for `/`."""
    names = ("saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001")
    items = [{"key": name.replace("/", "_"), "path": f"wine/1/{name}"} for name in names]
    return {"name": "served-model", "items": items}


def create_config_maps(model: Path) -> None:
    files = {item["key"]: model / item["path"].removeprefix("wine/1/") for item in model_files()["items"]}
    encoded = {key: base64.b64encode(path.read_bytes()).decode() for key, path in files.items()}
    for name, content in (
        ("served-model", {"binaryData": encoded}),
        ("model-server", {"data": {"server.py": SERVER.read_text(encoding="utf-8")}}),
    ):
        metadata = {"name": name, "namespace": prerequisites.NAMESPACE}
        manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, **content}
        kubectl("apply", "--filename=-", given=json.dumps(manifest))


@pytest.fixture(scope="module")
def running(
    command: Command, overlays: Path, deployment: KubernetesDeployment, version_model: SaveVersion, wine: Row
) -> Iterator[KubernetesDeployment]:
    """The deployment with two model servers, one of whose models scores."""
    create_config_maps(version_model(1))
    add_model_servers(overlays)
    assert command("deploy") == 0
    descriptor = ModelDescriptor("wine", "tensorflow-serving-grpc", model_source_location=LOCATION, inputs=INPUTS)
    deployment.models.publish(descriptor)
    deployment.results_of(deployment.send([wine]), seconds=240.0)
    yield deployment
    kubectl("delete", "configmap", "served-model", "model-server", IN_NAMESPACE)


def servers() -> list[str]:
    """The names of the servers' pods that are ready."""
    found = json.loads(kubectl("get", "pods", IN_NAMESPACE, SELECTOR, "--output=json"))["items"]
    return [
        pod["metadata"]["name"]
        for pod in found
        if not pod["metadata"].get("deletionTimestamp")
        and all(one["ready"] for one in pod["status"].get("containerStatuses", [{"ready": False}]))
    ]


def calls(pod: str) -> int:
    """How many calls of Predict a server has answered."""
    path = f"/api/v1/namespaces/{prerequisites.NAMESPACE}/pods/{pod}:8501/proxy/test/calls"
    return len(json.loads(kubectl("get", f"--raw={path}")))


def test_two_pods_share_the_calls_and_one_may_go(running: KubernetesDeployment, wine: Row) -> None:
    first, second = servers()
    with running.records_coming(wine, a_second=RATE) as sent:
        running.wait_for_more_results()
        wait_until(lambda: min(calls(first), calls(second)) > 10, "both servers are called")
        kubectl("delete", "pod", first, IN_NAMESPACE, "--grace-period=1")
        running.wait_for_more_results(1000)
        wait_until(lambda: len(servers()) == 2, "a new server is ready")
        (new,) = set(servers()) - {second}
        took = wait_until(lambda: calls(new) > 10, "the new server is called")
        running.wait_for_more_results()
    print(f"\nthe new pod was called {took:.1f} s after it was ready")
    results = running.results_of_all(sent)
    assert [result.error for result in results if result.error] == []
    require_true_labels(results)
