"""Writes messages to Kafka: a bundle ends only after the broker has acknowledged each of its messages."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import apache_beam as beam
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.timestamp import Timestamp
from apache_beam.utils.windowed_value import WindowedValue
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from models.kafka.client import ConnectionLog, KafkaSettings
from models.observing.instruments import DEAD_LETTERS, EVENTS_DROPPED, MESSAGES, STAGE_DURATION
from models.observing.observer import Observer
from models.observing.tracing import Sending
from models.records.batch import OffsetSpan
from models.records.outgoing import OutgoingBatch, OutgoingMessage, OutgoingRun
from models.results.dead_letter import DeadLetter, DeadLetterTopic, encode_dead_letter
from transforms.observing import Observing
from transforms.offset_commits import GroupOffsets

_LOGGER = logging.getLogger(__name__)

_ANY_PARTITION = -1  # the partitioner chooses
_TOO_LARGE = (KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE)


class SinkError(Exception):
    """A message was not acknowledged; the bundle fails, and the runner or the next start repeats it."""


class WriteToKafka(beam.PTransform):
    """Writes a PCollection of `OutgoingBatch`, and emits or commits the span of each batch once it is acknowledged.

    At least once: the producer is idempotent, so its own retries write nothing twice, but a repeated bundle writes its
    messages again; the coordinates in them identify duplicates. A message that is too large for its topic becomes a
    dead letter without the value, which stays at its coordinates. A status event belongs to no record and has no
    coordinates: if it is too large, it is dropped, logged and counted, because every retry would fail in the same way.

    Args:
      kafka: the brokers.
      dead_letters: the topic of dead letters, which are framed here; it also receives messages that are too large.
      offsets: commits the acknowledged spans where all of them reach one process; then no span is emitted.
      observing: who is told what is measured; None for nobody.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        dead_letters: DeadLetterTopic,
        offsets: GroupOffsets | None = None,
        observing: Observing | None = None,
    ) -> None:
        super().__init__()
        self._kafka = kafka
        self._dead_letters = dead_letters
        self._offsets = offsets
        self._observing = observing or Observing()

    def expand(self, batches: beam.PCollection[OutgoingBatch]) -> beam.PCollection[OffsetSpan]:
        """Builds the step that sends the messages."""
        produce = ProduceMessages(self._kafka, self._dead_letters, self._offsets, self._observing)
        return batches | "Produce" >> beam.ParDo(produce).with_output_types(OffsetSpan)


class ProduceMessages(beam.DoFn):
    """Sends the messages of a bundle and, once all of them are acknowledged, emits or commits the batches' spans.

    Each instance has its own producer, so that it waits only for its own messages.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        dead_letters: DeadLetterTopic,
        offsets: GroupOffsets | None = None,
        observing: Observing | None = None,
    ) -> None:
        self._kafka = kafka
        self._dead_letters = dead_letters
        self._offsets = offsets
        self._observing = observing or Observing()

    def setup(self) -> None:
        """Takes the process's committer, if there is one. The producer is created with the first message."""
        self._producer: Producer | None = None
        self._observer: Observer = self._observing.enter().observation
        self._committer = self._offsets.enter() if self._offsets else None

    def start_bundle(self) -> None:
        """Forgets the previous bundle, which may have failed."""
        self._sent = False
        self._spans: list[OffsetSpan] = []
        self._failures: list[tuple[OffsetSpan, OutgoingMessage, KafkaError]] = []
        self._traced: list[tuple[OutgoingMessage, Sending]] = []

    def process(self, element: OutgoingBatch) -> None:
        """Sends the messages of a batch; waits only while the queue of the producer is full."""
        for run in element.runs:
            self._send_run(element.span, self._framed(run))
        for message in element.messages:
            self._send(element.span, message)
        self._observer.measure(MESSAGES, len(element))
        if element.span.end > element.span.start:  # a heartbeat's span is empty
            self._spans.append(element.span)

    def finish_bundle(self) -> Iterator[WindowedValue]:
        """Waits until every message is acknowledged, then commits the spans or emits them.

        Raises:
          SinkError: a message was not acknowledged, and no dead letter can replace it.
        """
        began = time.perf_counter()
        self._await()
        while self._failures:
            failures, self._failures = self._failures, []
            for span, message, error in failures:
                self._handle(span, message, error)
            self._await()
        if self._sent:
            self._observer.measure(STAGE_DURATION, time.perf_counter() - began, ("deliver", "", ""))
        for _, sending in self._traced:
            sending.end()
        if self._committer is not None:
            for span in self._spans:
                self._committer.acknowledge(span)
            return
        now = Timestamp.now()
        for span in self._spans:
            yield WindowedValue(span, now, (GlobalWindow(),))

    def teardown(self) -> None:
        """Releases the producer and the committer."""
        self._producer = None
        self._observing.leave()
        if self._offsets is not None:
            self._offsets.leave()

    def _framed(self, run: OutgoingRun) -> OutgoingRun:
        """The run with dead letters framed for their topic; other messages are unchanged."""
        if run.topic != self._dead_letters.name:
            return run
        return replace(run, values=[self._dead_letters.frame(value) for value in run.values])

    def _send_run(self, span: OffsetSpan, run: OutgoingRun) -> None:
        """Sends a run like `_send`, but with one callback for all messages and without an object for each of them."""
        if run.headers:
            for place in range(len(run)):
                self._send(span, run.message(place))
            return
        produce, topic = self._ready_producer().produce, run.topic
        on_failure = partial(self._on_run_failure, span, run)
        for place, (key, value) in enumerate(zip(run.keys, run.values, strict=True)):
            try:
                # Positional arguments: keyword arguments would make the call half as long again.
                produce(topic, value, key, _ANY_PARTITION, on_failure)
            except (BufferError, KafkaException):  # a full queue, or a message that is too large
                self._send(span, run.message(place))
        self._sent = True

    def _on_run_failure(self, span: OffsetSpan, run: OutgoingRun, error: KafkaError, sent: Message) -> None:
        place = next(place for place, value in enumerate(run.values) if value == sent.value())
        self._failures.append((span, run.message(place), error))

    def _ready_producer(self) -> Producer:
        if self._producer is None:
            self._producer = self._kafka.producer(**{"delivery.report.only.error": True, "message.timeout.ms": 0})
        return self._producer

    def _send(self, span: OffsetSpan, message: OutgoingMessage) -> None:
        producer = self._ready_producer()
        traced = self._observer.tracing.sending(message) if message.headers else None
        if traced is not None:
            message = traced[0]
            self._traced.append(traced)
        on_failure = partial(self._on_failure, span, message)
        headers = list(message.headers) or None
        while True:
            try:
                producer.produce(message.topic, message.value, message.key, headers=headers, on_delivery=on_failure)
                self._sent = True
                return
            except BufferError:  # the queue is full: wait until some of it is acknowledged
                producer.poll(0.1)
            except KafkaException as error:
                self._failures.append((span, message, error.args[0]))
                return

    def _on_failure(self, span: OffsetSpan, message: OutgoingMessage, error: KafkaError, _: Message) -> None:
        self._failures.append((span, message, error))

    def _await(self) -> None:
        producer = self._producer
        if producer is None:
            return
        while producer.flush(1.0):
            pass
        if self._sent and not self._failures:
            ConnectionLog.answered(self._kafka.bootstrap_servers)

    def _handle(self, span: OffsetSpan, message: OutgoingMessage, error: KafkaError) -> None:
        # The dead letters of `_replace` have no offset. If even one of them is too large, the bundle must fail.
        too_large = error.code() in _TOO_LARGE
        if too_large and message.offset is not None:
            self._replace(span, message, message.offset)
        elif too_large and message.topic != self._dead_letters.name:
            _LOGGER.error("%s; it belongs to no record, so it is dropped", _too_large_text(message))
            self._observer.measure(EVENTS_DROPPED, 1)
        else:
            self._producer = None  # some errors make a producer unusable
            raise SinkError(f"topic {message.topic!r}: a message was not acknowledged: {error.str()}")

    def _replace(self, span: OffsetSpan, message: OutgoingMessage, offset: int) -> None:
        """Sends a dead letter instead of a message that is too large."""
        reason = f"{_too_large_text(message)}; the record is still at its coordinates"
        for one, sending in self._traced:
            if one is message:
                sending.end(reason)
        _LOGGER.error("%s-%d@%d: %s", span.topic, span.partition, offset, reason)
        self._observer.measure(DEAD_LETTERS, 1, (span.topic, "too_large"))
        letter = DeadLetter(reason, span.topic, span.partition, offset, 0, None, None, (), 0)
        value = self._dead_letters.frame(encode_dead_letter(letter))
        self._send(span, OutgoingMessage(self._dead_letters.name, letter.coordinates.encode(), value))


def _too_large_text(message: OutgoingMessage) -> str:
    size = len(message.key or b"") + len(message.value or b"")
    return (
        f"the message for topic {message.topic!r} has {size} bytes of key and value, more than that topic takes "
        "(raise its max.message.bytes)"
    )
