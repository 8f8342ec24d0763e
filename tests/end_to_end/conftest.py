"""Pipelines under test, each in its own process against the session's real broker."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import pytest

from models.kafka.client import KafkaSettings
from models.records.record_type import RecordFormat, RecordType
from runners.local.kafka_broker import LocalBroker
from tests.end_to_end.deployment import Deployment
from tests.saved_models import save_version_model


class Deploy(Protocol):
    """Creates the topics of a deployment, and returns it; its `start` starts the pipeline."""

    def __call__(self, schema: str = "recommender", **settings: Any) -> Deployment: ...


@pytest.fixture
def deploy(broker: LocalBroker, prism_location: Path, tmp_path: Path) -> Iterator[Deploy]:
    """Deployments of one test, which end with it."""
    made: list[Deployment] = []

    def make(schema: str = "recommender", **settings: Any) -> Deployment:
        kafka = settings.pop("kafka", None) or KafkaSettings(broker.bootstrap_servers)
        made.append(make_deployment(kafka, prism_location, schema, tmp_path / str(len(made)), **settings))
        return made[-1]

    yield make
    for deployment in made:
        deployment.close()


@pytest.fixture(scope="package")
def serving(
    broker: LocalBroker, prism_location: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    """The deployment that tests share: recommender records, with a separate data type for each test.

    The pipeline runs, on one partition, until the last test of this folder.
    """
    folder = tmp_path_factory.mktemp("serving")
    deployment = make_deployment(KafkaSettings(broker.bootstrap_servers), prism_location, "recommender", folder)
    try:
        deployment.start()
        deployment.score({"user": 0, "products": [], "dataType": "first"})
        yield deployment
    finally:
        deployment.close()


def make_deployment(
    kafka: KafkaSettings,
    prism_location: Path,
    schema: str,
    folder: Path,
    record_format: RecordFormat = "avro",
    options: Mapping[str, Any] | None = None,
    **settings: Any,
) -> Deployment:
    """Creates the topics of a deployment; the caller closes it."""
    runner_options = {"runner-options": [f"--prism_location={prism_location}"]}
    named = RecordType.named(schema, record_format)
    return Deployment(kafka, named, {**runner_options, **(options or {})}, folder, **settings)


@pytest.fixture(scope="session")
def version_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Saves models whose answer is their version; equal models are saved once."""
    folder = tmp_path_factory.mktemp("models")
    saved: dict[str, Path] = {}

    def save(version: int, **settings: Any) -> Path:
        name = "-".join(map(str, (version, *sorted(settings.items()))))
        if name not in saved:
            saved[name] = save_version_model(folder / f"model-{len(saved)}", version, **settings)
        return saved[name]

    return save
