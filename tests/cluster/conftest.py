"""The cluster of this machine, started for these tests unless it is up, with nothing deployed at their start."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from beam_pipeline.demo.wine import as_record, load_wines
from flink.cluster import __main__ as command_line
from flink.cluster.demo import use_cluster
from flink.cluster.node import single_node
from flink.cluster.platform import kafka, prerequisites
from flink.deployment import overlay
from flink.deployment.__main__ import main as deployment_main
from flink.deployment.kubectl import Kubectl
from flink.deployment.revisions import read
from models.kafka.client import KafkaSettings
from models.records.record_type import RecordType, Row
from tests.cluster.on_kubernetes import ENVIRONMENT, KubernetesDeployment, editable_overlays, empty_topics

Command = Callable[..., int]
SaveVersion = Callable[[int], Path]


@pytest.fixture(scope="session", autouse=True)
def cluster() -> Iterator[None]:
    """The running cluster."""
    was_up = single_node.is_up()
    if not was_up:
        assert command_line.main(["up", "--with=packages"]) == 0
    use_cluster()
    yield
    if not was_up:
        assert command_line.main(["down"]) == 0


@pytest.fixture(scope="module", autouse=True)
def overlays(cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Overlays that a test may edit; at first as they are."""
    patch = pytest.MonkeyPatch()
    folder = editable_overlays(tmp_path_factory.mktemp("overlays"))
    patch.setattr(overlay, "OVERLAYS", folder)
    yield folder
    patch.undo()


@pytest.fixture(scope="module")
def command(overlays: Path) -> Iterator[Command]:
    """Runs `python -m flink.deployment` and returns its exit status; what it deploys is deleted in the end."""

    def run(name: str, *options: str, seconds: float = 420.0) -> int:
        return deployment_main([name, ENVIRONMENT, f"--timeout={seconds:g}", *options])

    def delete() -> None:
        if read(Kubectl(), prerequisites.NAMESPACE) is not None:
            assert run("delete") == 0

    delete()
    yield run
    delete()


@pytest.fixture(scope="module")
def deployment(command: Command, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubernetesDeployment]:
    """The deployment with empty topics; not deployed yet."""
    empty_topics()
    settings = KafkaSettings(kafka.BOOTSTRAP_SERVERS)
    folder = tmp_path_factory.mktemp("deployment")
    made = KubernetesDeployment(settings, RecordType.named("wine"), {}, folder, partitions=kafka.TOPICS["records"])
    yield made
    made.close()


@pytest.fixture(scope="session")
def wine() -> Row:
    """A record."""
    return as_record(load_wines().held_out[0], "lot")


@pytest.fixture(scope="session")
def version_model(tmp_path_factory: pytest.TempPathFactory) -> SaveVersion:
    """Saves a model whose answer is the given number; imports TensorFlow, which takes a while."""
    from tests.saved_models import save_version_model

    return lambda version: save_version_model(tmp_path_factory.mktemp("model"), version)
