"""One deployment under test: its topics, its pipeline process, and the user's access to both."""

from __future__ import annotations

import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from confluent_kafka import Message, TopicPartition
from confluent_kafka.admin import NewTopic

from models.artifacts.archive import zip_folder
from models.artifacts.digest import digest_of_bytes, digest_of_path
from models.kafka.client import KafkaSettings
from models.model_topic.descriptor import (
    ModelDescriptor,
    ModelPointer,
    encode_descriptor,
    encode_pointer,
    pointer_key,
    version_key,
)
from models.model_topic.publisher import ModelPublisher
from models.records.batch import Headers
from models.records.record_type import RecordType, Row
from models.results.dead_letter import DeadLetter, decode_dead_letter
from models.results.decoder import ResultDecoder
from models.status.events import StatusEvent
from tests.end_to_end.kafka_tail import SECONDS, KafkaTail, headers_of
from tests.end_to_end.serving_process import ServingProcess

SAVED_MODEL = "tensorflow-saved-model"


@dataclass(frozen=True)
class Result:
    """A message of the results topic."""

    key: bytes | None
    headers: Headers
    record: Row
    outputs: dict[str, Any]
    metadata: dict[str, Any]

    @property
    def where(self) -> tuple[int, int]:
        """The partition and offset of the record."""
        return self.metadata["partition"], self.metadata["offset"]

    @property
    def embedded(self) -> Any:
        """The record that the result embeds, for formats whose results embed it."""
        return self.record

    @property
    def version(self) -> int | None:
        """The version that scored the record, according to the result."""
        version: int | None = self.metadata["modelVersion"]
        return version

    @property
    def error(self) -> str | None:
        """The reason why there are no outputs."""
        error: str | None = self.metadata["errors"]
        return error

    def values(self, output: str) -> list[Any]:
        """The values of an output."""
        values: list[Any] = self.outputs[output]["values"]
        return values


def describe(
    name: str, model: Path, inputs: Mapping[str, tuple[str, ...]], inline: bool = True, data_type: str | None = None
) -> ModelDescriptor:
    """A descriptor of a SavedModel, without a version number yet."""
    content = zip_folder(model) if inline else None
    return ModelDescriptor(
        name,
        SAVED_MODEL,
        model_bytes=content,
        model_source_location=None if inline else str(model),
        data_type=data_type or "",
        inputs=inputs,
        digest=digest_of_bytes(content) if content is not None else digest_of_path(model),
    )


@dataclass
class Deployment:
    """A deployment with its own topics on a broker, and at most one pipeline that uses them.

    Attributes:
      kafka: the broker.
      schema: the schema of the records.
      options: options of `beam-serving run` in addition to the topics; None omits an option.
      folder: the folder for logs and models.
    """

    kafka: KafkaSettings
    schema: RecordType
    options: Mapping[str, Any]
    folder: Path
    partitions: int = 1
    topic_config: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    name: str = field(default_factory=lambda: uuid.uuid4().hex[:8])
    process: ServingProcess | None = None

    # How long the broker may take to acknowledge what is sent.
    FLUSH_SECONDS: ClassVar[float] = 30.0

    def __post_init__(self) -> None:
        self._tails: list[KafkaTail] = []
        self._producer = self.kafka.producer()
        self.admin = self.kafka.admin()
        self.make_topic("records", self.partitions)
        self.make_topic("models", cleanup_policy="compact")
        for kind in ("results", "dead-letters", "status"):
            self.make_topic(kind)

    def topic(self, kind: str) -> str:
        """The name of the records, models, results, dead-letters or status topic."""
        return f"{kind}-{self.name}"

    def make_topic(self, kind: str, partitions: int = 1, **config: str) -> None:
        """Creates a topic with the settings given for its kind."""
        settings = {key.replace("_", "."): value for key, value in config.items()}
        settings.update(self.topic_config.get(kind, {}))
        topic = NewTopic(self.topic(kind), partitions, 1, config=settings)
        self.admin.create_topics([topic])[topic.topic].result(30)

    def refresh_producer(self) -> None:
        """Switches to a new producer, which knows the current topics."""
        self._producer.flush(10)
        self._producer = self.kafka.producer()

    # --- The pipeline.

    @property
    def group(self) -> str:
        """The consumer group."""
        return f"group-{self.name}"

    def start(self, **options: Any) -> ServingProcess:
        """Starts the pipeline and returns at once; `options` override those of the deployment, and None removes one."""
        settings = {
            "bootstrap-servers": self.kafka.bootstrap_servers,
            "records-topic": self.topic("records"),
            "models-topic": self.topic("models"),
            "results-topic": self.topic("results"),
            "dead-letter-topic": self.topic("dead-letters"),
            "status-topic": self.topic("status"),
            "record-schema": self.schema.name,
            "record-format": self.schema.format,
            "group": self.group,
            **self.options,
            **{name.replace("_", "-"): value for name, value in options.items()},
        }
        chosen = {name: value for name, value in settings.items() if value is not None}
        self.process = ServingProcess(chosen, self.folder)
        return self.process

    def fails(self, **options: Any) -> str:
        """Starts a pipeline that is expected to fail, waits for its end, and returns its output."""
        process = self.start(**options)
        try:
            assert process.wait(SECONDS) == 1
        except subprocess.TimeoutExpired as error:
            raise AssertionError(f"it still runs{self._log_end()}") from error
        return process.log()

    def close(self) -> None:
        """Ends the pipeline."""
        if self.process is not None:
            self.process.close()
        for tail in self._tails:
            tail.close()

    def committed(self, kind: str = "records", partition: int = 0) -> int:
        """The group's committed offset; 0 before the first commit."""
        consumer = self.kafka.consumer(self.group)
        try:
            (where,) = consumer.committed([TopicPartition(self.topic(kind), partition)], timeout=10.0)
        finally:
            consumer.close()
        return max(0, int(where.offset))

    def eventually(self, holds: Callable[[], bool], what: str, seconds: float = SECONDS) -> None:
        """Waits for a condition that no message signals."""
        deadline = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < deadline, f"{what}: not in {seconds:g} s{self._log_end()}"
            time.sleep(0.05)

    # --- Records and what comes of them.

    def send(
        self, records: Iterable[Row], key: bytes | None = None, headers: Headers = (), partition: int = 0
    ) -> list[int]:
        """Sends records; returns their offsets."""
        return self.send_bytes([self.schema.codec.encode(record) for record in records], key, headers, partition)

    def send_bytes(
        self,
        values: Sequence[bytes | None],
        key: bytes | None = None,
        headers: Headers = (),
        partition: int = 0,
        kind: str = "records",
    ) -> list[int]:
        """Sends messages unchanged; returns their offsets, in the order of `values`."""
        offsets = self.send_later(values, key, headers, partition, kind)
        assert self._producer.flush(self.FLUSH_SECONDS) == 0
        assert len(offsets) == len(values)
        return offsets

    def send_later(
        self,
        values: Sequence[bytes | None],
        key: bytes | None = None,
        headers: Headers = (),
        partition: int = 0,
        kind: str = "records",
    ) -> list[int]:
        """Like `send_bytes`, but without waiting: the list fills as the broker acknowledges."""
        offsets: list[int] = []

        def delivered(error: object, message: Message) -> None:
            assert error is None, error
            offsets.append(message.offset())

        for value in values:
            self._producer.produce(
                self.topic(kind), value, key, partition, headers=list(headers) or None, on_delivery=delivered
            )
        self._producer.poll(0)
        return offsets

    @cached_property
    def _results_tail(self) -> KafkaTail:
        return self._tail("results")

    @cached_property
    def _letters_tail(self) -> KafkaTail:
        return self._tail("dead-letters")

    @cached_property
    def _status_tail(self) -> KafkaTail:
        return self._tail("status")

    def _tail(self, kind: str) -> KafkaTail:
        tail = KafkaTail(self.kafka, self.topic(kind))
        self._tails.append(tail)
        return tail

    @cached_property
    def _decoder(self) -> ResultDecoder:
        return ResultDecoder(self.schema.codec.embedding)

    @cached_property
    def _decoded(self) -> list[Result]:
        return []

    def _decode(self, message: Message) -> Result:
        value = self._decoder.decode(message.value())
        return Result(
            message.key(), headers_of(message), value["inputRecord"], value["outputs"], value["modelResultMetadata"]
        )

    def results(self) -> list[Result]:
        """Every result received so far, in the topic's order, again and again: duplicates included."""
        messages = self._results_tail.messages
        self._decoded.extend(self._decode(message) for message in messages[len(self._decoded) :])
        return self._decoded

    def results_to_the_end(self) -> list[Result]:
        """Every result that is in the topic now."""
        self._results_tail.to_the_end()
        return self.results()

    def results_with_messages(self) -> list[tuple[Result, Message]]:
        """Every result that is in the topic now, and its message."""
        return list(zip(self.results_to_the_end(), self._results_tail.messages, strict=True))

    def more_results(self, seconds: float = 0.1) -> list[Result]:
        """The results that have arrived since the last call; collects them for this many seconds."""
        before = len(self.results())
        self._results_tail.poll(seconds)
        return self.results()[before:]

    def results_of(self, offsets: Iterable[int], partition: int = 0, seconds: float = SECONDS) -> list[Result]:
        """The first result of each of these records, in the order of `offsets`."""
        wanted = [(partition, offset) for offset in offsets]
        found: dict[tuple[int, int], Result] = {}
        seen = 0

        def all_there() -> bool:
            nonlocal seen
            results = self.results()
            for result in results[seen:]:
                found.setdefault(result.where, result)
            seen = len(results)
            return all(where in found for where in wanted)

        if not self._results_tail.until(all_there, seconds):
            missing = [where for where in wanted if where not in found]
            raise AssertionError(f"no results of {len(missing)} records, first {missing[:5]}{self._log_end()}")
        return [found[where] for where in wanted]

    @contextmanager
    def records_coming(self, row: Row, a_second: int) -> Iterator[list[list[int]]]:
        """Sends about this many records a second to each partition; yields their offsets, by partition."""
        sent: list[list[int]] = [[] for _ in range(self.partitions)]
        done = threading.Event()

        def send() -> None:
            values = [self.schema.codec.encode(row)] * (a_second // 20)
            while not done.wait(1 / 20):
                for partition in range(self.partitions):
                    sent[partition] += self.send_bytes(values, partition=partition)

        thread = threading.Thread(target=send)
        thread.start()
        try:
            yield sent
        finally:
            done.set()
            thread.join()

    def results_of_all(self, sent: list[list[int]], seconds: float = 60.0) -> list[Result]:
        """The first result of each of these records; raises AssertionError when one is missing after the time limit."""
        return [
            result for partition, offsets in enumerate(sent) for result in self.results_of(offsets, partition, seconds)
        ]

    def score(self, *records: Row, **where: Any) -> list[Result]:
        """Sends records and returns their results."""
        return self.results_of(self.send(records, **where), where.get("partition", 0))

    def dead_letters(self, offsets: Iterable[int], kind: str = "records") -> dict[int, DeadLetter]:
        """The dead letters of these messages by offset, once all have arrived."""
        wanted = set(offsets)

        def found() -> dict[int, DeadLetter]:
            letters = [decode_dead_letter(message.value()) for message in self._letters_tail.messages]
            return {one.offset: one for one in letters if one.topic == self.topic(kind) and one.offset in wanted}

        assert self._letters_tail.until(lambda: len(found()) == len(wanted)), (
            f"no dead letters of {sorted(wanted - found().keys())[:5]}{self._log_end()}"
        )
        return found()

    def all_dead_letters(self) -> list[DeadLetter]:
        """Every dead letter that is in the topic now."""
        self._letters_tail.to_the_end()
        return [decode_dead_letter(message.value()) for message in self._letters_tail.messages]

    def status(self, kind: str, model: str = "", version: int = 0, number: int = 1) -> list[StatusEvent]:
        """The status events of a kind about a version, once there are this many."""

        def found() -> list[StatusEvent]:
            events = _status_events(self._status_tail)
            return [one for one in events if (one.kind, one.model_name, one.model_version) == (kind, model, version)]

        assert self._status_tail.until(lambda: len(found()) >= number), (
            f"fewer than {number} events {kind!r} of {model}/{version}{self._log_end()}"
        )
        return found()

    def all_status(self) -> list[StatusEvent]:
        """Every status event that is in the topic now."""
        self._status_tail.to_the_end()
        return _status_events(self._status_tail)

    # --- Models.

    @property
    def models(self) -> ModelPublisher:
        """The publisher of the models topic."""
        return ModelPublisher(self.kafka, self.topic("models"))

    def publish(
        self,
        name: str,
        model: Path,
        inputs: Mapping[str, tuple[str, ...]],
        inline: bool = True,
        data_type: str | None = None,
    ) -> ModelDescriptor:
        """Publishes the next version of a model, inline or by location."""
        return self.models.publish(describe(name, model, inputs, inline, data_type))

    def write_model(self, descriptor: ModelDescriptor) -> int:
        """Writes a version and its pointer to the models topic, as any program may; returns the version's offset."""
        name, version = descriptor.model_name, descriptor.model_version
        pointer = ModelPointer(name, version, version - 1 or None, version)
        (offset,) = self.send_bytes([encode_descriptor(descriptor)], version_key(name, version), kind="models")
        self.send_bytes([encode_pointer(pointer)], pointer_key(name), kind="models")
        return offset

    def _log_end(self) -> str:
        return f"; the log ends:\n{self.process.log()[-3000:]}" if self.process is not None else ""


def _status_events(tail: KafkaTail) -> list[StatusEvent]:
    return [StatusEvent.from_json(message.value()) for message in tail.messages]
