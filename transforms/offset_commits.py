"""Commits offsets to the consumer group, never ahead of the messages that the broker has acknowledged.

The source's own finalisation comes too early: its bundle ends before its records are scored. Instead, the spans that
the sink emits are joined for each partition into a frontier without holes, which is committed.

With one worker process, the frontiers live in that process and the sink hands its spans over directly: a separate step
would cost another bundle for each batch. With several, the frontiers live in Beam's state, keyed by partition, and are
part of the runner's checkpoints, which costs several calls of the runner for each batch.
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
# This many unexpected errors in a row end the committer. A broker that refuses or does not answer is always retried.
_ATTEMPTS = 5


@dataclass(frozen=True)
class GroupOffsets:
    """The offsets of a consumer group, as a pipeline commits them.

    Attributes:
      kafka: the brokers.
      group: the consumer group.
      shared: the committer of a worker process. It is closed before other shared values, because acknowledged records
        that are not committed are scored again by the next start.
    """

    kafka: KafkaSettings
    group: str
    shared: ProcessShared[GroupCommitter] = field(default_factory=lambda: ProcessShared(urgent=True))

    def enter(self) -> GroupCommitter:
        """The process's committer; called from a DoFn's `setup`, and followed by one `leave`."""
        return self.shared.enter(lambda: GroupCommitter(self.kafka, self.group))

    def leave(self) -> None:
        """Called from a DoFn's `teardown`; the last call closes the committer."""
        self.shared.leave()


class CommitOffsets(beam.PTransform):
    """Takes the acknowledged `OffsetSpan`s of any topics from any workers and commits their frontiers to a group.

    A commit carries the topic's id as its metadata, so that the next start can recognize a recreated topic. With one
    worker process this step is not needed, because the sink commits (`WriteToKafka`).

    Args:
      offsets: the offsets of the group.
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
    """A span, keyed by its topic, partition and topic id, so that a recreated topic has keys of its own."""
    return f"{span.topic}/{span.partition}/{span.topic_id}", span


class JoinSpans(beam.DoFn):
    """Joins the spans of a partition in keyed state, and emits the part without holes as one span when it grows."""

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
    """Hands the spans, which arrive in any order, to the process's committer."""

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
    """Commits the newest frontier of each partition a few times a second, in its own thread.

    If the thread ends with an error, the next bundle fails, so that the runner restarts the worker: otherwise records
    would be scored without a commit, and all of them again after the next start. If the runner keeps the process, the
    thread is started again after the failed bundle, and commits the pending offsets.
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
        """Joins a span to its partition's frontier, which replaces an older one that is not committed yet.

        Raises:
          OffsetsNotCommittedError: the committer's thread has ended with an error.
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
        """Commits the pending offsets and ends the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(timeout=10.0)
        if not self._thread.is_alive():  # otherwise it is still in a call of the consumer
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
        """Commits offsets and returns whether that succeeded; raises the last of several unexpected errors in a row."""
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
