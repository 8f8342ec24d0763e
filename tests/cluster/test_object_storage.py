"""State in an S3-compatible object store: checkpoints, savepoints, and what a new job manager starts from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from flink.cluster import layout
from flink.cluster.kubernetes_client import kubectl
from models.records.record_type import Row
from tests.cluster.conftest import Command, SaveVersion
from tests.cluster.object_storage import ObjectStorage
from tests.cluster.on_kubernetes import (
    ENVIRONMENT,
    IN_NAMESPACE,
    RATE,
    KubernetesDeployment,
    add_component,
    add_serving_option,
    edit_yaml,
    leading_job_manager,
    require_true_labels,
)
from tests.end_to_end.flink.flink_deployment import duplicates

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
BUCKET = "beam-serving"


@pytest.fixture(scope="module")
def storage(cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStorage]:
    """A server for pods and for this test, with the bucket of the component `storage-s3`, and the Secret for it."""
    with ObjectStorage(layout.HOST_ADDRESS, tmp_path_factory.mktemp("objects")) as running:
        running.create(BUCKET)
        keys = {"AWS_ACCESS_KEY_ID": running.access_key, "AWS_SECRET_ACCESS_KEY": running.secret_key}
        literals = [f"--from-literal={name}={value}" for name, value in keys.items()]
        kubectl("create", "secret", "generic", "object-storage", IN_NAMESPACE, *literals)
        yield running
        kubectl("delete", "secret", "object-storage", IN_NAMESPACE)


def keep_state_in(storage: ObjectStorage, overlays: Path) -> None:
    """The overlay with the component `storage-s3` in place of its volume."""
    folder = overlays / ENVIRONMENT
    options = {"s3.endpoint": storage.endpoint, "s3.path.style.access": "true"}
    operations = "".join(
        f"- op: add\n  path: /spec/flinkConfiguration/{name}\n  value: '{value}'\n" for name, value in options.items()
    )
    (folder / "endpoint.yaml").write_text(operations, encoding="utf-8")

    def change(content: dict[str, list[object]]) -> None:
        content["resources"].remove("storage.yaml")
        content["patches"][0] = {"path": "endpoint.yaml", "target": {"kind": "FlinkDeployment"}}

    add_component("storage-s3")
    edit_yaml(folder / "kustomization.yaml", change)
    port = {"port": storage.port}
    edit_yaml(folder / "network-policy.yaml", lambda policy: policy["spec"]["egress"][1]["ports"].append(port))


@pytest.fixture(scope="module")
def running(
    storage: ObjectStorage,
    command: Command,
    overlays: Path,
    deployment: KubernetesDeployment,
    version_model: SaveVersion,
    wine: Row,
) -> Iterator[KubernetesDeployment]:
    """The deployment, whose model scores."""
    keep_state_in(storage, overlays)
    assert command("deploy") == 0
    deployment.first_scored(version_model(1), wine)
    yield deployment
    # Before the storage ends, which the job needs to the last.
    assert command("delete") == 0


def test_checkpoints_are_objects(running: KubernetesDeployment, storage: ObjectStorage) -> None:
    def has_checkpoint() -> bool:
        return any(name.endswith("/_metadata") for name in storage.names(f"{BUCKET}/checkpoints"))

    running.eventually(has_checkpoint, "a checkpoint in the bucket", 120.0)
    assert storage.names(f"{BUCKET}/high-availability")


def test_an_upgrade_starts_from_a_savepoint_in_the_bucket(
    running: KubernetesDeployment,
    storage: ObjectStorage,
    command: Command,
    wine: Row,
    capsys: pytest.CaptureFixture[str],
) -> None:
    add_serving_option("result-headers", "cloud-events")
    with running.records_coming(wine, a_second=RATE) as sent:
        running.wait_for_more_results()
        assert command("upgrade") == 0
        running.wait_for_more_results()
    assert f"Its last savepoint: s3://{BUCKET}/savepoints/" in capsys.readouterr().out
    assert any(name.endswith("/_metadata") for name in storage.names(f"{BUCKET}/savepoints"))
    require_true_labels(running.results_of_all(sent))
    assert duplicates(running.results_to_the_end()) == 0


def test_a_new_job_manager_goes_on_from_the_bucket(running: KubernetesDeployment, wine: Row) -> None:
    with running.records_coming(wine, a_second=RATE) as sent:
        running.wait_for_more_results()
        kubectl("delete", "pod", leading_job_manager(), IN_NAMESPACE)
        running.wait_for_more_results()
    require_true_labels(running.results_of_all(sent))
