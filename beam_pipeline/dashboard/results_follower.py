"""Follows the results topic: reads a bounded number of results a second, and counts the others by their offsets."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from beam_pipeline.dashboard.message_reader import MessageReader
from beam_pipeline.dashboard.repeated_thread import RepeatedThread
from beam_pipeline.dashboard.settings import WINDOW_SECONDS
from beam_pipeline.dashboard.topic_follower import (
    SECONDS_TO_ANSWER,
    SMALL_QUEUES,
    existing_partitions,
)
from models.errors import KafkaUnreachableError
from models.kafka.client import KafkaSettings

TICK_SECONDS = 0.5
READ_A_TICK = 400
"""How many results are read in a tick, over all partitions; a slower stream is read completely."""

# A topic with no more results than this in the window is read from the window's beginning; of a larger one, a few
# results of every ten seconds are. In both cases the charts show what happened before the dashboard started.
BACKLOG = 20_000
_SAMPLED_MILLISECONDS, _SAMPLE = 10_000, 40
_PARTITIONS_SECONDS = 10.0
_POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Skipped:
    """Results that were counted by their offsets.

    Attributes:
      partition: their partition.
      begin, end: the times between which they were written, in milliseconds since 1970-01-01 UTC.
      number: how many.
    """

    partition: int
    begin: int
    end: int
    number: int


@dataclass
class _Place:
    """Where a partition is read.

    Attributes:
      next: the offset of the next result to read.
      last_at: the time of the last result that was read, in milliseconds since 1970-01-01 UTC; None before the first.
      skipped: how many results before `next` were skipped since then.
      ahead: whether the client has already given results behind those that were read.
    """

    next: int
    last_at: int | None = None
    skipped: int = 0
    ahead: bool = False

    def passed(self, message: Message) -> list[Skipped]:
        """Moves behind a message, and returns what was skipped before it."""
        at = message.timestamp()[1]
        skipped = [Skipped(message.partition(), self.last_at or at, at, self.skipped)] if self.skipped else []
        self.next, self.last_at, self.skipped = message.offset() + 1, at, 0
        return skipped


class ResultsFollower:
    """Hands samples of results to a function.

    Args:
      kafka: the brokers.
      topic: the results topic; it is waited for if it does not exist yet.
      take: takes the results that were read, and what was skipped before them.
    """

    def __init__(
        self, kafka: KafkaSettings, topic: str, take: Callable[[Sequence[Message], Sequence[Skipped]], None]
    ) -> None:
        self._kafka = kafka
        self._topic = topic
        self._take = take
        # They outlast an outage, after which it goes on where it was.
        self._places: dict[int, _Place] = {}

    def follow(self, thread: RepeatedThread) -> None:
        """Follows the topic until the thread is stopping.

        Raises:
          TopicError: the topic does not exist.
          KafkaUnreachableError, KafkaException: the broker does not answer.
        """
        consumer, admin = self._kafka.standalone_consumer(**SMALL_QUEUES), self._kafka.admin()
        try:
            self._begin(consumer, admin)
            next_look = time.monotonic() + _PARTITIONS_SECONDS
            while not thread.stopping.is_set():
                begin = time.monotonic()
                if begin >= next_look:
                    self._add_partitions(consumer)
                    next_look = begin + _PARTITIONS_SECONDS
                self._tick(consumer, admin, begin + TICK_SECONDS)
                thread.succeeded()
                thread.stopping.wait(begin + TICK_SECONDS - time.monotonic())
        finally:
            consumer.close()

    def _begin(self, consumer: Consumer, admin: AdminClient) -> None:
        """Assigns the partitions; at the first time, it reads what is in the window already."""
        ends = {} if self._places else self._read_window(consumer, admin)
        consumer.assign([TopicPartition(self._topic, one, place.next) for one, place in self._places.items()])
        until = time.monotonic() + SECONDS_TO_ANSWER
        while self._is_behind(ends) and time.monotonic() < until:
            self._read(consumer, ends, until)

    def _read_window(self, consumer: Consumer, admin: AdminClient) -> dict[int, int]:
        """Starts at the beginning of the window, or at its end after a sample of it; returns the ends."""
        ends = self._ends(admin, range(existing_partitions(consumer, self._topic)))
        now = round(time.time() * 1000)
        starts = self._offsets_at(consumer, now - WINDOW_SECONDS * 1000, ends)
        if sum(ends[one] - starts[one] for one in ends) > BACKLOG:
            self._sample_window(consumer, starts, ends, now)
            starts = ends
        self._places = {one: _Place(start, now) for one, start in starts.items()}
        return ends

    def _offsets_at(self, consumer: Consumer, moment: int, ends: Mapping[int, int]) -> dict[int, int]:
        """The offset of the first result of each partition from a time on; its end if there is none."""
        wanted = [TopicPartition(self._topic, one, moment) for one in ends]
        found = consumer.offsets_for_times(wanted, timeout=SECONDS_TO_ANSWER)
        # A negative offset means that no message is that young.
        return {one.partition: one.offset if one.offset >= 0 else ends[one.partition] for one in found}

    def _sample_window(self, consumer: Consumer, starts: Mapping[int, int], ends: Mapping[int, int], now: int) -> None:
        """Counts the results of the window by their offsets, and reads a few of every ten seconds."""
        reader = MessageReader(self._kafka)
        try:
            before = starts
            for begin in range(now - WINDOW_SECONDS * 1000, now, _SAMPLED_MILLISECONDS):
                end = min(now, begin + _SAMPLED_MILLISECONDS)
                after = ends if end == now else self._offsets_at(consumer, end, ends)
                counts = {one: max(0, after[one] - before[one]) for one in ends}
                busiest = max(counts, key=counts.__getitem__)
                wanted = min(counts[busiest], _SAMPLE)
                if wanted:
                    messages = self._sample(reader, busiest, before[busiest], wanted)
                    read = {busiest: len(messages)}
                    gaps = [Skipped(one, begin, end - 1, count - read.get(one, 0)) for one, count in counts.items()]
                    self._take(messages, gaps)
                before = after
        finally:
            reader.close()

    def _sample(self, reader: MessageReader, partition: int, offset: int, number: int) -> list[Message]:
        """The results from an offset on; none if the broker does not answer: they are counted in any case."""
        try:
            return reader.read(self._topic, partition, offset, number)
        except KafkaUnreachableError:
            return []

    def _add_partitions(self, consumer: Consumer) -> None:
        new = range(len(self._places), existing_partitions(consumer, self._topic))
        if new:
            consumer.incremental_assign([TopicPartition(self._topic, one, 0) for one in new])
            self._places.update({one: _Place(0) for one in new})

    def _tick(self, consumer: Consumer, admin: AdminClient, until: float) -> None:
        """Reads what has arrived, or the newest of it, until the time (of the monotonic clock) at the latest."""
        ends = self._ends(admin, self._places)
        share = max(1, READ_A_TICK // len(self._places))
        for partition, place in self._places.items():
            if ends[partition] < place.next:  # the topic was created again
                self._seek(consumer, partition, place, 0)
            elif place.ahead or ends[partition] - place.next > share:
                self._seek(consumer, partition, place, max(place.next, ends[partition] - share))
        self._read(consumer, ends, until)

    def _is_behind(self, ends: Mapping[int, int]) -> bool:
        return any(self._places[one].next < end for one, end in ends.items())

    def _read(self, consumer: Consumer, ends: Mapping[int, int], until: float) -> None:
        """Reads up to these ends, but at most what is read in a tick, and hands on what was read in time."""
        messages: list[Message] = []
        skipped: list[Skipped] = []
        while len(messages) < READ_A_TICK and time.monotonic() < until and self._is_behind(ends):
            for message in consumer.consume(READ_A_TICK - len(messages), _POLL_SECONDS):
                place = self._places[message.partition()] if message.error() is None else None
                # What librdkafka had fetched before a seek is of no interest.
                if place is None or message.offset() < place.next:
                    continue
                # Otherwise a fast partition would use up what is left for the others.
                if message.offset() >= ends[message.partition()]:
                    place.ahead = True
                    continue
                if not place.ahead:
                    skipped += place.passed(message)
                    messages.append(message)
        if messages:
            self._take(messages, skipped)

    def _seek(self, consumer: Consumer, partition: int, place: _Place, offset: int) -> None:
        with suppress(KafkaException):  # the client does not read this partition yet: the next tick tries again
            consumer.seek(TopicPartition(self._topic, partition, offset))
            place.skipped += max(0, offset - place.next)
            place.next, place.ahead = offset, False

    def _ends(self, admin: AdminClient, partitions: Iterable[int]) -> dict[int, int]:
        """The offset after the last message of each partition."""
        wanted = {TopicPartition(self._topic, one): OffsetSpec.latest() for one in partitions}
        answers = admin.list_offsets(wanted, request_timeout=SECONDS_TO_ANSWER)
        return {where.partition: int(answer.result().offset) for where, answer in answers.items()}
