"""Reads one partition of a Kafka topic: where to start, which records have arrived, and which are missing.

The reader starts no threads: librdkafka fetches ahead in its own, and `take` returns the records that have arrived.
"""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass
from operator import methodcaller
from typing import Literal, NoReturn

from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from models.errors import KafkaUnreachableError, OffsetGapError
from models.kafka.client import ConnectionLog, KafkaSettings
from models.kafka.start_at import StartAt
from models.records.batch import Headers, OffsetSpan, RecordBatch

_LOGGER = logging.getLogger(__name__)

OnGap = Literal["fail", "report"]
_QUERY_SECONDS = 10.0
_COMMITTED = StartAt("committed")


@dataclass(frozen=True)
class Partition:
    """One partition to read; the element of the pipeline's source.

    Attributes:
      topic, topic_id, partition: as in `OffsetSpan`.
      from_beginning: the partition appeared while the pipeline was running, so all its records are new.
    """

    topic: str
    topic_id: str
    partition: int
    from_beginning: bool = False


@dataclass(frozen=True)
class Opening:
    """The offset to start at, and a description of the records missing before it (None: nothing is missing)."""

    offset: int
    gap: str | None = None


@dataclass(frozen=True)
class ReadSettings:
    """How a topic is read.

    Attributes:
      kafka: the brokers.
      group: the consumer group whose committed offsets are used.
      start: where to start.
      on_gap: what to do when records between the position and the first available one are gone: fail, or report the
        gap and continue after it.
      max_records: the largest number of records in a batch.
      max_bytes: the largest size of a batch, in bytes of keys and values; a larger record forms its own batch.
    """

    kafka: KafkaSettings
    group: str
    start: StartAt = _COMMITTED
    on_gap: OnGap = "fail"
    max_records: int = 2_000
    max_bytes: int = 8_388_608


class PartitionReader:
    """Reads one partition. Used by one thread at a time.

    The worker that reads the partition creates the reader, which opens a consumer, and must `close` it.
    """

    def __init__(self, settings: ReadSettings, partition: Partition) -> None:
        self._settings = settings
        self._partition = partition
        self._consumer = settings.kafka.consumer(settings.group)
        self._position: int | None = None
        self._left_over: list[Message] = []
        self._gone = False
        self._logged: set[int] = set()
        self._opening_gap: str | None = None
        self._committed: int | None = None
        self.quiet_since = time.monotonic()
        self.took_at = -math.inf

    def opening(self) -> Opening:
        """The offset at which to start, according to the settings and the group's committed offset.

        The first batch that this reader takes also reports the gap before it, if there is one.

        Raises:
          OffsetGapError: when records are missing and on_gap is fail.
          KafkaUnreachableError: when no broker answers.
        """
        opening = self._opening()
        self._opening_gap = opening.gap
        return opening

    def _opening(self) -> Opening:
        partition, start = self._partition, self._settings.start
        low, high = self._bounds()
        if partition.from_beginning or start.kind == "earliest":
            return Opening(low)
        if start.kind == "latest":
            return Opening(high)
        if start.kind == "timestamp":
            return Opening(self._offset_at(start.timestamp, high))
        committed = self.committed()
        if committed is None:
            return Opening(low)
        offset, topic_id = committed
        if partition.topic_id and topic_id and topic_id != partition.topic_id:
            return Opening(low, self._gap(f"the topic was recreated since offset {offset} was committed"))
        if offset > high:
            return Opening(low, self._gap(f"the topic was recreated: offset {offset} was committed, it ends at {high}"))
        if offset < low:
            return Opening(low, self._gap(f"the records at offsets {offset} to {low - 1} have expired"))
        return Opening(offset)

    def committed(self) -> tuple[int, str] | None:
        """The group's committed offset and the id of the topic it was committed for; None without a committed offset.

        The topic id is the metadata of the commit, and empty if the commit has none.

        Raises:
          KafkaUnreachableError: when no broker answers.
        """
        where = TopicPartition(self._partition.topic, self._partition.partition)
        try:
            (answer,) = self._consumer.committed([where], timeout=_QUERY_SECONDS)
        except KafkaException as error:
            raise self._unreachable(error) from error
        if answer.error is not None:
            raise self._unreachable(KafkaException(answer.error))
        return None if answer.offset < 0 else (answer.offset, answer.metadata or "")

    def take(self, position: int, origin: int) -> RecordBatch:
        """The records from `position` on that have already arrived, as a batch. Never waits.

        The batch is empty when none have arrived, for example while no broker answers.

        Args:
          position: the offset to continue at; a position other than the end of the last batch causes a seek.
          origin: the offset at which reading of this partition started; it goes into the batch's span.

        Raises:
          OffsetGapError: when the record at `position` is gone and on_gap is fail.
          TopicRecreatedError: when the topic was recreated and on_gap is report.
        """
        self._seek(position)
        arrived = self._left_over
        if not arrived and not self._gone:
            arrived = self._good(self._consumer.consume(self._settings.max_records, timeout=0))
        if not arrived and self._gone:
            return self._skip_gap(position, origin)
        taken = self._within_bytes(arrived)
        self._left_over = arrived[len(taken) :]
        return self._batch(taken, position, origin)

    def _good(self, messages: list[Message]) -> list[Message]:
        errors = [error for error in [message.error() for message in messages] if error is not None]
        good = [message for message in messages if message.error() is None] if errors else messages
        for error in errors:
            if error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
                self._gone = True
            else:
                self._log_once(error)
        if good:
            ConnectionLog.answered(self._settings.kafka.bootstrap_servers)
            self._logged.clear()
        return good

    def nothing(self, position: int, origin: int) -> RecordBatch:
        """An empty batch at `position`: a heartbeat."""
        partition = self._partition
        return RecordBatch(
            OffsetSpan(partition.topic, partition.topic_id, partition.partition, origin, position, position)
        )

    def recreated(self, position: int) -> NoReturn:
        """Reports that the topic was recreated while this reader was at `position`, so no more records will arrive.

        Raises:
          OffsetGapError: when on_gap is fail.
          TopicRecreatedError: when on_gap is report.
        """
        raise TopicRecreatedError(self._gap(f"the topic was recreated: reading was at offset {position}"))

    def backlog(self, position: int) -> int:
        """The number of offsets between `position` and the partition's end, as last reported by the broker."""
        where = TopicPartition(self._partition.topic, self._partition.partition)
        try:
            _, high = self._consumer.get_watermark_offsets(where, cached=True)
        except KafkaException:
            return 0
        return max(0, int(high) - position)

    def close(self) -> None:
        """Closes the consumer; it never joined the group, so closing it causes no rebalance."""
        self._consumer.close()

    def _bounds(self) -> tuple[int, int]:
        where = TopicPartition(self._partition.topic, self._partition.partition)
        try:
            low, high = self._consumer.get_watermark_offsets(where, timeout=_QUERY_SECONDS)
        except KafkaException as error:
            raise self._unreachable(error) from error
        return low, high

    def _offset_at(self, timestamp: int, high: int) -> int:
        where = TopicPartition(self._partition.topic, self._partition.partition, timestamp)
        try:
            (answer,) = self._consumer.offsets_for_times([where], timeout=_QUERY_SECONDS)
        except KafkaException as error:
            raise self._unreachable(error) from error
        return answer.offset if answer.offset >= 0 else high

    def _seek(self, position: int) -> None:
        if self._position == position:
            return
        where = TopicPartition(self._partition.topic, self._partition.partition, position)
        # `assign` instead of `seek`: it also works before the first assignment, and drops all prefetched records.
        self._consumer.assign([where])
        self._position = position
        self._left_over = []
        self._gone = False

    def _within_bytes(self, messages: list[Message]) -> list[Message]:
        """As many of the first messages as fit in one batch; the rest are left for the next one."""
        if (
            sum(map(len, messages)) + sum(map(len, filter(None, map(Message.key, messages))))
            <= self._settings.max_bytes
        ):
            return messages
        size = 0
        for index, message in enumerate(messages):
            size += len(message.key() or b"") + len(message)
            if size > self._settings.max_bytes and index:
                return messages[:index]
        return messages

    def _batch(self, messages: list[Message], position: int, origin: int) -> RecordBatch:
        offsets = list(map(Message.offset, messages))
        end = offsets[-1] + 1 if offsets else position
        self._position = end
        partition = self._partition
        return RecordBatch.of(
            OffsetSpan(partition.topic, partition.topic_id, partition.partition, origin, position, end),
            offsets,
            [timestamp for _, timestamp in map(Message.timestamp, messages)],
            list(map(Message.key, messages)),
            list(map(Message.value, messages)),
            [headers_of(message) for message in messages],
            self._take_opening_gap() if offsets else None,
            self._known_committed() if offsets else 0,
        )

    def _take_opening_gap(self) -> str | None:
        gap, self._opening_gap = self._opening_gap, None
        return gap

    def _known_committed(self) -> int:
        if self._committed is None:
            try:
                committed = self.committed()
            except KafkaUnreachableError:
                committed = None
            self._committed = committed[0] if committed else 0
        return self._committed

    def _skip_gap(self, position: int, origin: int) -> RecordBatch:
        try:
            low, _ = self._bounds()
        except KafkaUnreachableError:  # the next take tries again
            return self.nothing(position, origin)
        # The broker rejected a position that is not below the first record, so it was past the end of the partition:
        # only a recreated topic ends earlier than before. By now it may have grown beyond the position.
        if position >= low:
            self.recreated(position)
        gap = self._gap(f"the records at offsets {position} to {low - 1} have expired")
        partition = self._partition
        span = OffsetSpan(partition.topic, partition.topic_id, partition.partition, origin, position, low)
        return RecordBatch(span, gap=gap)

    def _gap(self, what: str) -> str:
        text = f"topic {self._partition.topic!r} partition {self._partition.partition}: {what}"
        if self._settings.on_gap == "fail":
            raise OffsetGapError(f"{text}; start with --on-gap report to continue after the gap")
        _LOGGER.error("%s; continuing after the gap", text)
        return text

    def _log_once(self, error: KafkaError) -> None:
        if error.code() not in self._logged:
            self._logged.add(error.code())
            name = f"topic {self._partition.topic!r} partition {self._partition.partition}"
            _LOGGER.warning("%s: %s; trying again", name, error.str())

    def _unreachable(self, error: KafkaException) -> KafkaUnreachableError:
        servers = self._settings.kafka.bootstrap_servers
        return KafkaUnreachableError(f"topic {self._partition.topic!r}: Kafka at {servers}: {error.args[0].str()}")


class TopicRecreatedError(OffsetGapError):
    """The topic was deleted and created again while it was being read, and on_gap is report."""


UNREADABLE_HEADERS = "headers.unreadable"
"""The only header of a record whose headers cannot be read, because the name of one of them is not UTF-8."""


# confluent-kafka returns a result although it has set an exception. The interpreter notices this in a call through C,
# but not in a call that it has specialized after some runs (Python 3.11 and later): the exception would be raised
# somewhere else.
_call_headers = methodcaller("headers")


def headers_of(message: Message) -> Headers:
    """The headers of a message; `UNREADABLE_HEADERS` alone if they cannot be read."""
    try:
        headers = _call_headers(message)
    except (SystemError, UnicodeDecodeError):
        # confluent-kafka fails to decode a header name that is not UTF-8, and then returns none of the headers.
        return ((UNREADABLE_HEADERS, None),)
    return tuple(headers) if headers else ()
