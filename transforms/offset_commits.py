"""Commits offsets to the consumer group, never ahead of what the sink has acknowledged.

The source's own finalisation comes too early: its bundle ends before its records are scored. So the spans that the
sink gives are joined, partition by partition, into one frontier without a hole, and that is committed.

Where there is one worker process, all spans of a partition come there, the frontiers live in it, and the sink hands
them over itself: a step of its own would be another bundle for each batch. Where there are several, the frontiers live
in Beam's state, keyed by partition, and go into the runner's checkpoints; that costs several calls of the runner for
each batch.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import apache_beam as beam
from apache_beam.transforms.userstate import ReadModifyWriteStateSpec
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from models.errors import OffsetsNotCommittedError
from models.kafka.client import KafkaSettings
from models.kafka.offset_frontier import OffsetFrontier
from models.records.batch import OffsetSpan
from transforms.coders import OffsetFrontierCoder
from transforms.process_shared import ProcessShared

_LOGGER = logging.getLogger(__name__)

_COMMIT_SECONDS = 0.2
# So many unexpected errors in a row end the committer; a broker that refuses or is away is asked again without end.
_ATTEMPTS = 5


@dataclass(frozen=True)
class GroupOffsets:
    """The offsets of a consumer group, as a pipeline commits them.

    Attributes:
      kafka: the brokers.
      group: the consumer group.
      shared: the committer of a worker process. It is closed before other shared values: what is acknowledged and not
        committed is scored again by the next start.
    """

    kafka: KafkaSettings
    group: str
    shared: ProcessShared[GroupCommitter] = field(default_factory=lambda: ProcessShared(urgent=True))

    def enter(self) -> GroupCommitter:
        """The process's committer, for a DoFn that is set up and will call `leave`."""
        return self.shared.enter(lambda: GroupCommitter(self.kafka, self.group))

    def leave(self) -> None:
        """Called when that DoFn is torn down; the last one closes the committer."""
        self.shared.leave()


class CommitOffsets(beam.PTransform):
    """Takes the acknowledged `OffsetSpan`s of any topics from any workers and commits their frontiers to a group.

    A commit carries the topic's id as its metadata, so that the next start can recognize a recreated topic. With one
    worker process the sink commits by itself (`WriteToKafka`), and this is not needed.

    Args:
      offsets: of the group.
    """

    def __init__(self, offsets: GroupOffsets) -> None:
        super().__init__()
        self._offsets = offsets

    def expand(self, spans: beam.PCollection[OffsetSpan]) -> beam.PCollection[int]:
        """Builds the steps that join the spans of each partition and commit their frontiers."""
        keyed = spans | "ByPartition" >> beam.Map(by_partition).with_output_types(tuple[str, OffsetSpan])
        joined = keyed | "Join" >> beam.ParDo(JoinSpans()).with_output_types(OffsetSpan)
        return joined | "Commit" >> beam.ParDo(CommitSpans(self._offsets)).with_output_types(int)


def by_partition(span: OffsetSpan) -> tuple[str, OffsetSpan]:
    """A span, keyed by its partition of its topic as it was made."""
    return f"{span.topic}/{span.partition}/{span.topic_id}", span


class JoinSpans(beam.DoFn):
    """Joins the spans of a partition in keyed state; emits what has no hole, as one span, whenever it has grown."""

    FRONTIER = ReadModifyWriteStateSpec("frontier", OffsetFrontierCoder())

    def process(
        self, element: tuple[str, OffsetSpan], frontier: Any = beam.DoFn.StateParam(FRONTIER)
    ) -> Iterator[OffsetSpan]:
        """Adds a span to its partition's frontier, and emits the frontier if it has advanced."""
        span = element[1]
        known = frontier.read() or OffsetFrontier(span.origin)
        advanced = known.add(span.start, span.end)
        if advanced != known:
            frontier.write(advanced)
        if advanced.position > known.position:
            yield replace(span, start=span.origin, end=advanced.position)


class CommitSpans(beam.DoFn):
    """Hands the spans, which come in any order, to the pipeline's committer."""

    def __init__(self, offsets: GroupOffsets) -> None:
        self._offsets = offsets

    def setup(self) -> None:
        """Takes the process's committer."""
        self._committer = self._offsets.enter()

    def teardown(self) -> None:
        """Leaves the committer; the last one to leave commits what is pending."""
        self._offsets.leave()

    def process(self, element: OffsetSpan) -> None:
        """Hands a span to the committer.

        Raises:
          OffsetsNotCommittedError: the committer's thread has ended with an error.
        """
        self._committer.acknowledge(element)


class GroupCommitter:
    """Commits the newest frontier of each partition a few times a second, in a thread of its own.

    Should that thread end with an error, the next bundle fails, so that the runner restarts the worker: otherwise
    records would be scored for ever, and all of them again after the next start. Where the runner keeps the process,
    the thread is started again when a bundle has failed, and commits what is pending.
    """

    def __init__(self, kafka: KafkaSettings, group: str) -> None:
        self._consumer: Consumer = kafka.consumer(group)
        self._changed = threading.Condition()
        self._frontiers: dict[tuple[str, str, int], OffsetFrontier] = {}
        self._pending: dict[tuple[str, int], TopicPartition] = {}
        self._closed = False
        self._said: set[int] = set()
        self._stopped: Exception | None = None
        self._failures = 0
        self._thread = self._start()

    def acknowledge(self, span: OffsetSpan) -> None:
        """Joins a span to its partition's frontier; an older frontier that was not committed yet is forgotten.

        Raises:
          OffsetsNotCommittedError: when the thread that commits has ended with an error.
        """
        key = span.topic, span.topic_id, span.partition
        with self._changed:
            self._check_not_stopped()
            known = self._frontiers.get(key) or OffsetFrontier(span.origin)
            advanced = self._frontiers[key] = known.add(span.start, span.end)
            if advanced.position > known.position:
                frontier = TopicPartition(span.topic, span.partition, advanced.position, metadata=span.topic_id)
                self._pending[span.topic, span.partition] = frontier
                self._changed.notify_all()

    def close(self) -> None:
        """Commits what is pending and ends."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(timeout=10.0)
        if not self._thread.is_alive():  # else it is still in a call of the consumer's
            self._consumer.close()

    def _start(self) -> threading.Thread:
        thread = threading.Thread(target=self._run, name="group-committer", daemon=True)
        thread.start()
        return thread

    def _check_not_stopped(self) -> None:
        stopped, self._stopped = self._stopped, None
        if stopped is not None:
            self._thread = self._start()
            raise OffsetsNotCommittedError(
                f"offsets are no longer committed: {type(stopped).__name__}: {stopped}"
            ) from stopped

    def _run(self) -> None:
        try:
            self._commit_until_closed()
        except Exception as error:
            _LOGGER.exception("offsets are no longer committed; the next bundle fails")
            with self._changed:
                self._stopped = error

    def _commit_until_closed(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._pending or self._closed)
                pending, self._pending = self._pending, {}
                closed = self._closed
            if pending and not self._commit_safely(pending) and not closed:
                self._keep(pending)
            if closed:
                return
            with self._changed:
                self._changed.wait_for(lambda: self._closed, _COMMIT_SECONDS)

    def _keep(self, pending: dict[tuple[str, int], TopicPartition]) -> None:
        with self._changed:
            self._pending = {**pending, **self._pending}

    def _commit_safely(self, pending: dict[tuple[str, int], TopicPartition]) -> bool:
        """Commits; an unexpected error is a failed commit, and the last of several in a row is raised."""
        try:
            committed = self._commit(list(pending.values()))
        except Exception as error:
            self._failures += 1
            if self._failures >= _ATTEMPTS:
                self._failures = 0
                self._keep(pending)
                raise
            _LOGGER.warning("offsets could not be committed: %s: %s; trying again", type(error).__name__, error)
            return False
        self._failures = 0
        return committed

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
