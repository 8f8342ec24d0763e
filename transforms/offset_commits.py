"""Commits offsets to the consumer group, never ahead of what the sink has acknowledged.

The source's own finalisation comes too early: its bundle ends before its records are scored. So the spans that the
sink gives are joined, partition by partition, into one frontier without a hole, and that is committed.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
from apache_beam import coders
from apache_beam.transforms.userstate import ReadModifyWriteStateSpec
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from models.kafka_client import KafkaSettings
from models.offset_frontier import OffsetFrontier
from models.record import Acknowledgement
from transforms.per_pipeline import PerPipeline

_LOGGER = logging.getLogger(__name__)

_COMMIT_SECONDS = 0.2


class CommitOffsets(beam.PTransform):
    """Takes the acknowledged spans of any topics and commits their frontiers to a group.

    A commit carries the topic's id as its metadata, so that the next start can tell a topic made anew.
    """

    def __init__(self, kafka: KafkaSettings, group: str, run_id: str) -> None:
        super().__init__()
        self._kafka = kafka
        self._group = group
        self._run_id = run_id

    def expand(self, spans: beam.PCollection[Acknowledgement]) -> beam.PCollection[int]:
        committed = spans | "Commit" >> beam.ParDo(
            CommitFrontier(self._kafka, self._group, self._run_id)
        ).with_output_types(int)
        # Prism keeps a core busy for as long as a bundle without an output lasts: the last one does nothing.
        return committed | "Committed" >> beam.Reshuffle() | "End" >> beam.Filter(_nothing)


def _nothing(_: int) -> bool:
    return False


class CommitFrontier(beam.DoFn):
    """Joins the spans of a partition, which come in any order, and hands the frontier to the committer."""

    FRONTIER = ReadModifyWriteStateSpec("frontier", coders.FastPrimitivesCoder())

    def __init__(self, kafka: KafkaSettings, group: str, run_id: str) -> None:
        self._kafka = kafka
        self._group = group
        self._run_id = run_id

    def setup(self) -> None:
        self._committer = COMMITTERS.enter(self._run_id, lambda: GroupCommitter(self._kafka, self._group))

    def teardown(self) -> None:
        COMMITTERS.leave(self._run_id)

    def process(self, element: Acknowledgement, state: Any = beam.DoFn.StateParam(FRONTIER)) -> Iterator[int]:
        (topic, topic_id, partition), (origin, start, end) = element
        known = state.read()
        frontier = OffsetFrontier.of(known) if known else OffsetFrontier(origin)
        advanced = frontier.add(start, end)
        state.write(advanced.as_tuple())
        if advanced.position > frontier.position:
            self._committer.submit(TopicPartition(topic, partition, advanced.position, metadata=topic_id))
        yield advanced.position


class GroupCommitter:
    """Commits the newest frontier of each partition a few times a second, in a thread of its own."""

    def __init__(self, kafka: KafkaSettings, group: str) -> None:
        self._consumer: Consumer = kafka.consumer(group)
        self._changed = threading.Condition()
        self._pending: dict[tuple[str, int], TopicPartition] = {}
        self._closed = False
        self._said: set[int] = set()
        self._thread = threading.Thread(target=self._run, name="group-committer", daemon=True)
        self._thread.start()

    def submit(self, frontier: TopicPartition) -> None:
        """Takes over a frontier; an older one that was not committed yet is forgotten."""
        with self._changed:
            self._pending[frontier.topic, frontier.partition] = frontier
            self._changed.notify_all()

    def close(self) -> None:
        """Commits what is pending and ends."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(timeout=10.0)
        if not self._thread.is_alive():  # else it is still in a call of the consumer's
            self._consumer.close()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._pending or self._closed)
                pending, self._pending = self._pending, {}
                closed = self._closed
            if pending and not self._commit(list(pending.values())) and not closed:
                with self._changed:
                    self._pending = {**pending, **self._pending}
            if closed:
                return
            with self._changed:
                self._changed.wait_for(lambda: self._closed, _COMMIT_SECONDS)

    def _commit(self, offsets: list[TopicPartition]) -> bool:
        try:
            answers = self._consumer.commit(offsets=offsets, asynchronous=False)
            errors = [answer.error for answer in answers if answer.error is not None]
        except KafkaException as failure:
            errors = [failure.args[0]]
        for error in errors:
            self._say_once(error)
        if not errors:
            self._said.clear()
        return not errors

    def _say_once(self, error: KafkaError) -> None:
        if error.code() in self._said:
            return
        self._said.add(error.code())
        remedy = ""
        if error.code() == KafkaError.UNKNOWN_MEMBER_ID:
            remedy = ": another program is a member of this consumer group; give this one a --group of its own"
        _LOGGER.warning("offsets could not be committed: %s%s; trying again", error.str(), remedy)


COMMITTERS: PerPipeline[GroupCommitter] = PerPipeline()
