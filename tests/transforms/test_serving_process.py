from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from models.artifacts.archive import zip_folder
from models.artifacts.digest import digest_of_bytes
from models.graphs.bandits import Choice, Tally
from models.kafka.client import KafkaSettings
from models.model_topic.descriptor import ModelDescriptor
from models.model_topic.publisher import ModelPublisher
from models.records.record_type import RecordType
from models.scorers.tensorflow import saved_model
from models.serving.assembly import ScoringSettings
from models.serving.follower import ModelFollower
from tests.conftest import MakeTopic
from tests.models.fakes import OneLease
from tests.saved_models import save_version_model
from tests.transforms.bundles import eventually
from transforms.process_shared import ProcessShared, close_all
from transforms.serving_process import ModelsSettings, Serving

INPUTS = {"x": ("user",)}
SCORING = ScoringSettings({"records": RecordType.named("recommender")}, "results", "dead-letters")


@pytest.fixture
def settings(kafka: KafkaSettings, make_topic: MakeTopic, topic_names: Callable[[str], str]) -> ModelsSettings:
    return ModelsSettings(
        kafka, make_topic(topic_names("models"), cleanup_policy="compact"), (RecordType.named("recommender"),)
    )


def publish(settings: ModelsSettings, folder: Path, version: int, inline: bool) -> int:
    model = save_version_model(folder, version)
    content = zip_folder(model) if inline else None
    topic = ModelPublisher(settings.kafka, settings.topic)
    topic.publish(
        ModelDescriptor(
            "m",
            "tensorflow-saved-model",
            model_bytes=content,
            model_source_location=None if inline else str(model),
            inputs=INPUTS,
            digest=digest_of_bytes(content) if content else None,
        )
    )
    return topic.read().position


def served(serving: Serving) -> int | None:
    with OneLease(serving.registry, "m") as lease:
        return lease.model.version.descriptor.model_version if lease.model else None


def test_it_serves_models_live_at_the_start_and_later_ones(settings: ModelsSettings, tmp_path: Path) -> None:
    publish(settings, tmp_path / "1", 1, inline=True)
    serving = Serving.start(settings, SCORING)
    try:
        serving.follower.wait_current({})
        assert served(serving) == 1
        serving.follower.follow({"": publish(settings, tmp_path / "2", 2, inline=False)})
        eventually(lambda: served(serving) == 2)
    finally:
        serving.close()
    assert served(serving) is None


def test_engines_are_imported_before_any_model_is_followed(
    settings: ModelsSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    class FollowedError(Exception):
        """Raised where the follower would have started."""

    imported: list[str] = []

    def start(_: ModelFollower) -> None:
        raise FollowedError

    monkeypatch.setattr(saved_model, "prepare", lambda: imported.append("tensorflow-saved-model"))
    monkeypatch.setattr(ModelFollower, "start", start)
    with pytest.raises(FollowedError):
        Serving.start(replace(settings, engines=("tensorflow-saved-model",)), SCORING)
    assert imported == ["tensorflow-saved-model"]


@pytest.mark.parametrize(
    ("schema", "data_types", "scored"),
    [
        (RecordType.named("wine"), (), {"wine"}),  # its records have no field dataType
        (RecordType.named("recommender"), (), {"wine", "recommender", "m"}),
        (RecordType.named("recommender"), ("m", "n"), {"m"}),
    ],
    ids=["by-schema", "by-field", "by-option"],
)
def test_only_the_models_of_data_types_that_its_records_can_have_are_followed(
    settings: ModelsSettings, schema: RecordType, data_types: tuple[str, ...], scored: set[str]
) -> None:
    own = replace(settings, record_types=(schema,), data_types=data_types)
    assert {one for one in ("wine", "recommender", "m") if own.scores(one)} == scored


def test_a_model_of_another_deployments_records_is_neither_loaded_nor_reported(settings: ModelsSettings) -> None:
    topic = ModelPublisher(settings.kafka, settings.topic)
    topic.publish(ModelDescriptor("m", "tensorflow-saved-model", model_source_location="/nowhere", inputs=INPUTS))
    serving = Serving.start(replace(settings, record_types=(RecordType.named("wine"),), deployment="group"), SCORING)
    try:
        serving.follower.wait_current({})
        assert serving.registry.drain_events() == []
        assert serving.registry.deployment == "group"
    finally:
        serving.close()


def test_bandits_learn_from_the_feedback_topic(
    settings: ModelsSettings, make_topic: MakeTopic, topic_names: Callable[[str], str]
) -> None:
    topic = make_topic(topic_names("feedback"))
    producer = settings.kafka.producer()
    producer.produce(topic, b'{"graph": "g", "step": "s", "model": "m", "version": 2, "reward": 0.5}', b"records-0-7")
    assert producer.flush(30) == 0
    serving = Serving.start(replace(settings, feedback_topic=topic), SCORING)
    try:
        eventually(lambda: serving.registry.rewards.of(Choice("g", "s", "m", 2)) == Tally(1, 0.5))
    finally:
        serving.close()


def test_closing_leaves_no_consumer(settings: ModelsSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    consumers: list[Any] = []

    def counted(kafka: KafkaSettings, **config: Any) -> Any:
        consumers.append(Closing(consumer_of(kafka, **config)))
        return consumers[-1]

    consumer_of = KafkaSettings.standalone_consumer
    publish(settings, tmp_path / "1", 1, inline=True)
    monkeypatch.setattr(KafkaSettings, "standalone_consumer", counted)
    serving = Serving.start(settings, SCORING)
    serving.follower.wait_current({})
    assert served(serving) == 1
    serving.close()
    assert len(consumers) == 2  # one follows, one fetches
    assert all(one.closed for one in consumers)


class Closing:
    """A consumer that records when it is closed."""

    def __init__(self, consumer: Any) -> None:
        self._consumer = consumer
        self.closed = False

    def close(self) -> None:
        self.closed = True
        self._consumer.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._consumer, name)


def test_closing_leaves_no_model_in_memory(settings: ModelsSettings, tmp_path: Path) -> None:
    publish(settings, tmp_path / "1", 1, inline=True)
    serving = Serving.start(settings, SCORING)
    serving.follower.wait_current({})
    with OneLease(serving.registry, "m") as lease:
        assert lease.model is not None
        scorer = weakref.ref(lease.model.scorer)
    serving.close()
    del lease

    def is_gone() -> bool:
        gc.collect()
        return scorer() is None

    eventually(is_gone)


def test_its_settings_can_be_sent_to_workers(settings: ModelsSettings) -> None:
    from apache_beam.internal import pickler

    assert pickler.loads(pickler.dumps(settings)) == settings


class Closable:
    closed = 0

    def close(self) -> None:
        self.closed += 1


def _same(one: Closable) -> Closable:
    return one


def test_closing_the_worker_process_closes_the_values_of_do_fns_that_are_not_torn_down() -> None:
    shared = [Closable() for _ in range(3)]
    for one in shared:
        ProcessShared[Closable]().enter(partial(_same, one))
    close_all()
    close_all()
    assert [one.closed for one in shared] == [1, 1, 1]
