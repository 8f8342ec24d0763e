"""ModelVersion objects and events on a real API server, in a namespace of their own."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import yaml

from beam_pipeline.cli.model_objects.model_object import ModelObject
from beam_pipeline.cli.model_objects.namespace import ModelNamespace
from flink.cluster import layout
from flink.cluster.kubernetes_client import kubectl
from tests.beam_pipeline.cli.model_objects.test_changes import serving, shown
from tests.flink.kubernetes import overlays

pytestmark = pytest.mark.timeout(300)
COMPONENT = overlays.FOLDER / "components" / "model-status"
NAMESPACE = "model-objects-test"
HERE = f"--namespace={NAMESPACE}"


@pytest.fixture(scope="module")
def namespace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelNamespace]:
    """A namespace, as the service account of the component sees it: with its rights and no others."""
    kubectl("apply", "--server-side", "--force-conflicts", f"--filename={COMPONENT / 'model-version.yaml'}")
    kubectl("wait", "--for=condition=Established", "customresourcedefinition/modelversions.beam-serving.io")
    kubectl("create", "namespace", NAMESPACE)
    account = (
        (COMPONENT / "service-account.yaml").read_text().replace("namespace: beam-serving", f"namespace: {NAMESPACE}")
    )
    kubectl("apply", "--filename=-", given=account)
    config = yaml.safe_load(layout.kubeconfig().read_text())
    config["users"][0]["user"] = {"token": kubectl("create", "token", "model-status", HERE).strip()}
    file = tmp_path_factory.mktemp("account") / "kubeconfig"
    file.write_text(yaml.safe_dump(config))
    patch = pytest.MonkeyPatch()
    patch.setenv("KUBECONFIG", str(file))
    yield ModelNamespace(NAMESPACE)
    patch.undo()
    kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def rows() -> list[list[str]]:
    """The table that `kubectl get` prints, without its head."""
    return [line.split()[:4] for line in kubectl("get", "modelversions", HERE, "--no-headers").splitlines()]


def events() -> list[tuple[str, str, str]]:
    found = json.loads(kubectl("get", "events", HERE, "--output=json"))["items"]
    return [(one["type"], one["reason"], one["involvedObject"]["name"]) for one in found]


def test_kubectl_shows_what_serves_and_what_changed(namespace: ModelNamespace) -> None:
    kubectl("auth", "can-i", "list", "modelversions", HERE)
    first: list[ModelObject] = [serving(1), shown(2, state="loading", workers=0)]
    namespace.update(first)
    assert rows() == [["wine-1", "wine", "1", "serving"], ["wine-2", "wine", "2", "loading"]]
    head = kubectl("get", "mv", HERE).splitlines()[0].split()
    assert head == ["NAME", "MODEL", "VERSION", "STATE", "ANSWERS", "WORKERS", "RECORDS", "ERRORS", "SINCE"]
    assert "s3://models/wine" in kubectl("get", "mv", HERE, "--output=wide")
    assert namespace.update(first) == []

    refused = shown(3, state="failed", workers=0, last_error="the digest differs")
    namespace.update([shown(1, state="released", workers=0), serving(2), refused])
    assert [row[3] for row in rows()] == ["released", "serving", "failed"]
    assert sorted(events()) == [
        ("Normal", "Released", "wine-1"),
        ("Normal", "Serving", "wine-1"),
        ("Normal", "Serving", "wine-2"),
        ("Warning", "Refused", "wine-3"),
    ]
    described = kubectl("describe", "modelversion", "wine-2", HERE)
    assert "wine/2 serves: wine 100 %, in place of wine/1" in described

    namespace.update([serving(2)])
    assert rows() == [["wine-2", "wine", "2", "serving"]]


def test_a_field_that_is_gone_is_removed(namespace: ModelNamespace) -> None:
    namespace.update([shown(4, state="failed", workers=0, last_error="x")])
    namespace.update([serving(4)])
    status = json.loads(kubectl("get", "modelversion", "wine-4", HERE, "--output=json"))["status"]
    assert status == serving(4).status


def test_the_objects_are_deleted_with_their_deployment(namespace: ModelNamespace) -> None:
    deployment = yaml.safe_load((COMPONENT / "deployment.yaml").read_text())
    deployment["metadata"]["namespace"] = NAMESPACE
    deployment["spec"]["replicas"] = 0
    kubectl("apply", "--filename=-", given=yaml.safe_dump(deployment))
    ModelNamespace(NAMESPACE, "model-status").update([serving(5)])
    assert rows() == [["wine-5", "wine", "5", "serving"]]
    kubectl("delete", "deployment", "model-status", HERE)
    kubectl("wait", "--for=delete", "modelversion/wine-5", "--timeout=120s", HERE)
    assert rows() == []
