"""The Flex template's image: its launcher builds a job, and its workers run that job's graph, with a real broker.

Flink stands in for Dataflow. Not shown: Google's own launcher, Dataflow itself, and the original base images.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from models.kafka.client import KafkaSettings
from models.records.record_type import RecordType
from runners.local.free_ports import is_free
from runners.local.kafka_broker import LocalBroker
from tests.beam_pipeline.template.scenario import parameters_of, score_update_and_commit
from tests.end_to_end.deployment import Deployment
from tests.google_cloud import BUCKET, PLACE, StorageEmulator, storage_emulator
from tests.heavy.dataflow.containers import BOOT, IMAGE, LAUNCHER, Container, build, container
from tests.job_process import job_process

pytestmark = [
    pytest.mark.timeout(3600),
    pytest.mark.skipif(os.geteuid() != 0 or sys.platform != "linux", reason="images are built by root, on Linux"),
]
POOL = 50_000  # boot starts its pool there
TEMPLATE = f"gs://{BUCKET}/staging/template_launches/job_object"


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    build(tmp_path_factory.mktemp("image"))
    with container() as one:
        yield one


@pytest.fixture(scope="module")
def storage() -> Iterator[StorageEmulator]:
    with storage_emulator() as emulator:
        yield emulator


def test_python_finds_in_the_image_what_it_was_built_with(image: Container) -> None:
    assert image.run("pip", "check").returncode == 0
    found = image.run("python", "-c", "import beam_pipeline, tensorflow, tfx_bsl; print(beam_pipeline.__file__)")
    assert found.stdout.startswith("/usr/local/lib/python3.11/"), found.stderr


@contextmanager
def job(graph: Path, log: Path) -> Iterator[None]:
    """Runs a graph for the block; what was staged with it is beside it."""
    files = str(graph.parent)
    command = [sys.executable, "-m", "tests.heavy.dataflow.staged_job", str(graph), files, f"localhost:{POOL}"]
    with job_process(command, log):
        yield


def test_the_launcher_stages_a_graph_that_the_images_workers_run(
    image: Container, storage: StorageEmulator, broker: LocalBroker, tmp_path: Path
) -> None:
    assert is_free(POOL), f"port {POOL} is in use, at which boot's worker pool listens"
    deployment = Deployment(KafkaSettings(broker.bootstrap_servers), RecordType.named("recommender"), {}, tmp_path)
    parameters = {**parameters_of(deployment), "record_schema": "recommender"}
    launched = image.run(
        LAUNCHER,
        "--runner=DataflowRunner",
        "--streaming=true",
        "--save_main_session",
        f"--template_location={TEMPLATE}",
        f"--sdk_container_image={IMAGE}",
        "--job_name=serving",
        *PLACE,
        *(f"--{name}={value}" for name, value in parameters.items()),
        environment={"STORAGE_EMULATOR_HOST": storage.host, "NO_GCE_CHECK": "true"},
    )
    assert launched.returncode == 0, launched.stderr[-3000:]
    staged = tmp_path / "staged"
    staged.mkdir()
    for name, content in storage.everything().items():
        (staged / Path(name).name).write_bytes(content)
    graph, log = staged / "pipeline.pb", tmp_path / "job.log"
    with image.running(BOOT, "--worker_pool", log=tmp_path / "pool.log"), job(graph, log):
        try:
            score_update_and_commit(deployment, tmp_path)
        except AssertionError as error:
            logs = "\n".join(f"{path.name}:\n{path.read_text()[-4000:]}" for path in (log, tmp_path / "pool.log"))
            raise AssertionError(f"{error}; the logs end:\n{logs}") from error
        finally:
            deployment.close()
