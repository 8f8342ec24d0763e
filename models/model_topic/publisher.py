"""Publishes models: writes versions and pointers to the models topic.

A version and its pointer are written in one Kafka transaction (`models.model_topic.transactions`), so that no version
number is assigned twice.
"""

from __future__ import annotations

import time
from contextlib import closing, suppress
from dataclasses import dataclass, replace

from models.errors import ModelLoadError, PublishError
from models.kafka.client import KafkaSettings
from models.kafka.topics import check_models_topic
from models.model_topic.catalog import ModelCatalog
from models.model_topic.descriptor import (
    ModelDescriptor,
    ModelPointer,
    encode_descriptor,
    encode_pointer,
    pointer_key,
    version_key,
)
from models.model_topic.published import PublishedVersion
from models.model_topic.reader import ModelsTopicReader
from models.model_topic.transactions import SECONDS, TopicTransactions

# An upper bound for the bytes that Kafka adds to a message: headers, lengths, checksums.
_OVERHEAD_BYTES = 512


@dataclass(frozen=True)
class ListedVersion:
    """One version of a model, as `models list` shows it; `state` is live, previous, or empty."""

    descriptor: ModelDescriptor
    offset: int
    inline: bool
    state: str


def listed_versions(catalog: ModelCatalog) -> list[ListedVersion]:
    """All versions of a catalog, sorted by name and number."""
    listed = []
    for (name, number), version in sorted(catalog.versions.items()):
        pointer = catalog.pointers[name].pointer if name in catalog.pointers else None
        live = pointer is not None and pointer.live_version == number
        previous = pointer is not None and pointer.previous_version == number
        state = "live" if live else "previous" if previous else ""
        listed.append(ListedVersion(version.descriptor, version.offset, version.inline, state))
    return listed


class ModelPublisher:
    """Publishes, rolls back, retires and lists models.

    Each call opens its own clients and closes its readers, so an instance holds no connection between calls.

    Args:
      kafka: the brokers.
      topic: the models topic; `publish` creates it, compacted and with one partition, if it is missing.
    """

    def __init__(self, kafka: KafkaSettings, topic: str) -> None:
        self._kafka = kafka
        self._topic = topic
        self._transactions = TopicTransactions(kafka, topic)

    def publish(self, descriptor: ModelDescriptor, live: bool = True, number: int | None = None) -> ModelDescriptor:
        """Writes the next version of a model, makes it live, and returns the descriptor as written.

        Args:
          descriptor: the descriptor; its version is replaced.
          live: whether the version becomes the live one; otherwise it is not used until a route or a rollback names it.
          number: the version's number, above all that were assigned; None for the next one.

        Raises:
          PublishError: the message is too large, the number was assigned before, or another publisher was faster.
          ModelsTopicError, KafkaUnreachableError: the topic cannot be used.
        """
        self._check_size(descriptor, check_models_topic(self._kafka, self._topic))
        name = descriptor.model_name
        producer = self._transactions.producer(name)
        catalog = self.read()
        version = next_version(catalog, name, number)
        numbered = replace(descriptor, model_version=version, published_at=_now())
        pointer = _next_pointer(catalog, name, version, live)
        self._transactions.write(
            producer,
            [
                *self._kept(catalog, name),
                (version_key(name, version), encode_descriptor(numbered)),
                (pointer_key(name), encode_pointer(pointer)),
            ],
        )
        return numbered

    def rollback(self, name: str, to: int | None = None) -> ModelPointer:
        """Makes an earlier version live, `to` or the previous one, and returns the new pointer.

        The previous version of a retired model is the one that was live last.

        Raises:
          PublishError: the model or the version is unknown, the version is already live, or another publisher
            was faster.
        """
        producer = self._transactions.producer(name)
        catalog = self.read()
        known = self._pointer(catalog, name)
        target = to if to is not None else known.previous_version
        if target is None:
            raise PublishError(f"model {name!r} has no version before {known.live_version}; select one with --to")
        if (name, target) not in catalog.versions:
            existing = ", ".join(str(number) for one, number in sorted(catalog.versions) if one == name)
            raise PublishError(f"model {name!r} has no version {target}; existing versions: {existing or 'none'}")
        if target == known.live_version:
            raise PublishError(f"model {name!r}: version {target} is already live")
        pointer = ModelPointer(name, target, known.live_version, catalog.last_version(name), _now())
        self._transactions.write(producer, [*self._kept(catalog, name), (pointer_key(name), encode_pointer(pointer))])
        return pointer

    def retire(self, name: str) -> ModelPointer:
        """Takes a model out of use and returns the new pointer; its versions are kept, and `rollback` restores it.

        Raises:
          PublishError: the model is unknown or already retired, or another publisher was faster.
        """
        producer = self._transactions.producer(name)
        catalog = self.read()
        known = self._pointer(catalog, name)
        if known.live_version is None:
            raise PublishError(f"model {name!r} is already retired")
        pointer = ModelPointer(name, None, known.live_version, catalog.last_version(name), _now())
        self._transactions.write(producer, [*self._kept(catalog, name), (pointer_key(name), encode_pointer(pointer))])
        return pointer

    def read(self) -> ModelCatalog:
        """The catalog of everything written so far; waits and raises as `TopicTransactions.read` does."""
        return self._transactions.read()

    def versions(self) -> list[ListedVersion]:
        """All published versions, sorted by name and number; raises as `read` does."""
        return listed_versions(self.read())

    def _pointer(self, catalog: ModelCatalog, name: str) -> ModelPointer:
        if name not in catalog.pointers:
            existing = ", ".join(sorted(catalog.pointers)) or "none"
            raise PublishError(f"model {name!r} is not in topic {self._topic!r}; existing models: {existing}")
        return catalog.pointers[name].pointer

    def _kept(self, catalog: ModelCatalog, name: str) -> list[tuple[bytes, bytes]]:
        """Copies of the versions keyed by the bare name, under versioned keys.

        The pointer to be written has the same bare key, so compaction would delete the originals.
        """
        kept = []
        with closing(ModelsTopicReader(self._kafka, self._topic, timeout=SECONDS)) as reader:
            for version in catalog.versions.values():
                if version.bare and version.descriptor.model_name == name:
                    with suppress(ModelLoadError):  # compaction has already deleted its message
                        descriptor = _whole(version, reader)
                        kept.append((version_key(name, descriptor.model_version), encode_descriptor(descriptor)))
        return kept

    def _check_size(self, descriptor: ModelDescriptor, limit: int) -> None:
        # The name is also part of both keys and of the pointer, which may be in the same batch.
        size = len(encode_descriptor(descriptor)) + 3 * len(descriptor.model_name.encode()) + _OVERHEAD_BYTES
        if size > limit:
            raise PublishError(
                f"model {descriptor.model_name!r} takes a message of {size} bytes, but topic {self._topic!r} accepts "
                f"at most {limit}; put the model where the workers can read it and publish it with --location URI, "
                "or raise the topic's max.message.bytes"
            )


def next_version(catalog: ModelCatalog, name: str, number: int | None = None) -> int:
    """The number of a model's next version: the given one, or the lowest that was never assigned.

    Raises:
      PublishError: the given number, or a higher one, was assigned before.
    """
    free = catalog.last_version(name) + 1
    if number is not None and number < free:
        raise PublishError(
            f"model {name!r}: version {number} cannot be published, because a number is never assigned again; "
            f"the lowest free number is {free}"
        )
    return free if number is None else number


def _whole(version: PublishedVersion, reader: ModelsTopicReader) -> ModelDescriptor:
    content = reader.fetch(version.offset) if version.inline else None
    return replace(version.descriptor, model_bytes=content)


def _next_pointer(catalog: ModelCatalog, name: str, version: int, live: bool) -> ModelPointer:
    if live:
        return ModelPointer(name, version, _live_version(catalog, name), version, _now())
    known = catalog.pointers[name].pointer if name in catalog.pointers else ModelPointer(name, None)
    return replace(known, last_version=version, updated_at=_now())


def _live_version(catalog: ModelCatalog, name: str) -> int | None:
    published = catalog.pointers.get(name)
    if published is None:
        return None
    pointer = published.pointer
    return pointer.live_version if pointer.live_version is not None else pointer.previous_version


def _now() -> int:
    return time.time_ns() // 1_000_000
