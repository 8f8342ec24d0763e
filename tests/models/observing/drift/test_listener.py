"""Two workers of a deployment on a real broker: their sketches are combined, and one of them reports drift."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import TypeVar

import pytest
from confluent_kafka import TopicPartition

from models.observing.drift.events import DriftEvent
from models.observing.drift.listener import DriftListener
from models.observing.drift.messages import BaselineMessage, JudgedMessage, WindowMessage, decode_sketches
from models.observing.drift.policy import DriftPolicy
from models.observing.drift.settings import DriftSettings
from models.observing.observation import Observation
from models.observing.totals import Totals
from models.routing.plan import implicit_plan
from models.serving.assembly import ScoringSettings, score_batch
from models.serving.registry import ModelRegistry
from tests.models.conftest import Kafka
from tests.models.fakes import X_SCHEMA, batch_of, fake_model, published

T = TypeVar("T")
WAIT = 60.0
POLICY = DriftPolicy(1, 100)
"""Windows of a second, so that a baseline takes about ten."""
SETTINGS = ScoringSettings({"records": X_SCHEMA}, "results", "letters")
A_SECOND = 400


class Worker:
    """A worker process, as far as drift is concerned."""

    def __init__(self, settings: DriftSettings, name: str, seed: int) -> None:
        self.listener = DriftListener(settings)
        self.listener._collector._worker = name  # both are in one process here
        self.observation = Observation(Totals(), (), [self.listener], label_listeners=[self.listener])
        self._registry = ModelRegistry(name, observer=self.observation)
        version = published(1)
        self._registry.update({"m": implicit_plan((version,))})
        self._registry.loaded(version, fake_model(version))
        self._chance = random.Random(seed)

    def score(self, records: int, shift: float) -> None:
        """Scores records whose field has changed by `shift`; every answer is the number 1."""
        rows = [{"x": self._chance.gauss(shift, 1), "dataType": "m"} for _ in range(records)]
        batch = batch_of([X_SCHEMA.codec.encode(row) for row in rows])
        score_batch(batch, self._registry, SETTINGS, observer=self.observation)

    def close(self) -> None:
        self.observation.close()


@pytest.fixture
def settings(kafka: Kafka) -> DriftSettings:
    models, topic = kafka.topic("models", cleanup_policy="compact"), kafka.topic("drift")
    kafka.make_topic(f"{topic}-sketches", 1, cleanup_policy="compact")
    return DriftSettings(kafka.settings, f"group-of-{models}", models, topic, POLICY, A_SECOND)


@pytest.fixture
def workers(settings: DriftSettings) -> Iterator[list[Worker]]:
    made = [Worker(settings, f"worker-{seed}", seed) for seed in range(2)]
    yield made
    for worker in made:
        worker.close()


class Topic:
    """The messages of a topic so far."""

    def __init__(self, settings: DriftSettings, topic: str) -> None:
        self._consumer = settings.kafka.consumer("tests")
        self._consumer.assign([TopicPartition(topic, 0, 0)])
        self.values: list[bytes] = []

    def poll(self) -> list[bytes]:
        found = self._consumer.consume(1_000, 0.1)
        self.values += [message.value() or b"" for message in found if message.error() is None]
        return self.values

    def of(self, kind: type[T]) -> list[T]:
        """The messages with sketches of one kind."""
        return [one for one in map(decode_sketches, self.poll()) if isinstance(one, kind)]

    def close(self) -> None:
        self._consumer.close()


@pytest.fixture
def events(settings: DriftSettings) -> Iterator[Topic]:
    with closing(Topic(settings, settings.topic)) as topic:
        yield topic


@pytest.fixture
def sketches(settings: DriftSettings) -> Iterator[Topic]:
    with closing(Topic(settings, settings.sketches_topic)) as topic:
        yield topic


def stream_until(workers: list[Worker], shift: float, holds: Callable[[], bool]) -> None:
    """Has the workers score records until a condition holds."""
    deadline = time.monotonic() + WAIT
    while not holds():
        assert time.monotonic() < deadline, "nothing came of it"
        for worker in workers:
            worker.score(A_SECOND // 20, shift)
        time.sleep(0.05)


@pytest.mark.timeout(180)
def test_the_sketches_of_both_workers_are_judged_by_one_and_another_goes_on_where_it_ends(
    settings: DriftSettings, workers: list[Worker], events: Topic, sketches: Topic
) -> None:
    stream_until(workers, 0.0, lambda: len(sketches.of(JudgedMessage)) >= 2)
    windows, (baseline,) = sketches.of(WindowMessage), sketches.of(BaselineMessage)
    assert {one.worker for one in windows} == {"worker-0", "worker-1"}
    sizes = [sum(one.profile.records for one in windows if one.start <= end) for end in {one.start for one in windows}]
    assert baseline.profile.records in sizes, "the baseline combines whole windows of both"
    assert baseline.profile.records >= 10 * POLICY.min_records
    assert events.poll() == []

    stream_until(workers, 1.0, lambda: bool(events.poll()))
    event = DriftEvent.from_json(events.values[0])
    assert (event.deployment, event.model, event.version) == (settings.deployment, "m", 1)
    assert (event.kind, event.field) == ("feature", "x")
    assert event.value > event.limit and event.window.records >= POLICY.min_records

    acting = next(one for one in workers if one.listener.acting)
    workers.remove(acting)
    acting.close()
    before = len(sketches.of(JudgedMessage))
    stream_until(workers, 1.0, lambda: len(sketches.of(JudgedMessage)) >= before + 2)
    assert len(sketches.of(BaselineMessage)) == 1, "the other one keeps the baseline"
    reported = [(one.field, one.measure) for one in map(DriftEvent.from_json, events.poll())]
    assert len(reported) == len(set(reported)) and {field for field, _ in reported} == {"x"}, "each is reported once"
