from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest

from models.artifacts.archive import zip_folder
from models.artifacts.digest import digest_of_bytes
from models.kafka.client import KafkaSettings
from models.model_topic.descriptor import ModelDescriptor
from models.model_topic.publisher import ModelsTopic
from models.records.schema import RecordSchema
from tests.conftest import MakeTopic
from tests.saved_models import save_version_model
from tests.transforms.bundles import eventually
from transforms.offset_commits import COMMITTERS
from transforms.partition_readers import READERS
from transforms.serving_process import SERVINGS, ModelsSettings, Serving
from transforms.worker_process import close_worker_process

INPUTS = {"x": ("user",)}


@pytest.fixture
def settings(kafka: KafkaSettings, make_topic: MakeTopic, topic_names: Callable[[str], str]) -> ModelsSettings:
    return ModelsSettings(
        kafka, make_topic(topic_names("models"), cleanup_policy="compact"), RecordSchema.named("recommender")
    )


def publish(settings: ModelsSettings, folder: Path, version: int, inline: bool) -> int:
    model = save_version_model(folder, version)
    content = zip_folder(model) if inline else None
    topic = ModelsTopic(settings.kafka, settings.topic)
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
    with serving.registry.lease("m") as lease:
        return lease.model.version.descriptor.model_version if lease.model else None


def test_it_serves_what_was_live_when_it_began_and_what_comes_later(settings: ModelsSettings, tmp_path: Path) -> None:
    publish(settings, tmp_path / "1", 1, inline=True)
    serving = Serving.start(settings)
    try:
        serving.follower.wait_current({})
        assert served(serving) == 1
        serving.follower.follow({"": publish(settings, tmp_path / "2", 2, inline=False)})
        eventually(lambda: served(serving) == 2)
    finally:
        serving.close()
    assert served(serving) is None


def test_a_closed_one_leaves_no_model_in_memory(settings: ModelsSettings, tmp_path: Path) -> None:
    publish(settings, tmp_path / "1", 1, inline=True)
    serving = Serving.start(settings)
    serving.follower.wait_current({})
    with serving.registry.lease("m") as lease:
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


def test_closing_the_worker_process_closes_what_no_do_fn_is_torn_down_for() -> None:
    committer, serving, readers = Closable(), Closable(), Closable()
    COMMITTERS.enter("cancelled", lambda: committer)  # type: ignore[arg-type,return-value]
    SERVINGS.enter("cancelled", lambda: serving)  # type: ignore[arg-type,return-value]
    READERS.enter("cancelled", lambda: readers)  # type: ignore[arg-type,return-value]
    close_worker_process()
    close_worker_process()
    assert (committer.closed, serving.closed, readers.closed) == (1, 1, 1)
