"""The Kafka consumers of a worker process: one a partition, kept from bundle to bundle."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from models.kafka.partition_reader import Partition, PartitionReader, ReadSettings

_UNUSED_SECONDS = 60.0


@dataclass
class _Kept:
    reader: PartitionReader
    used: float


class PartitionReaders:
    """What one pipeline reads with in this process. Thread-safe: a reader that is lent out is nobody else's.

    A reader that nobody asked for in a minute is closed: its partition is read elsewhere.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._closed = False
        self._kept: dict[Partition, _Kept] = {}
        self._topic_ids: dict[str, str] = {}

    def close(self) -> None:
        """Closes the readers; those that are lent out when they come back."""
        with self._lock:
            self._closed = True
            kept, self._kept = self._kept, {}
        for one in kept.values():
            one.reader.close()

    @contextmanager
    def lease(self, settings: ReadSettings, partition: Partition) -> Iterator[PartitionReader]:
        """Lends the partition's reader, made at first use; after an exception it is closed, not kept."""
        with self._lock:
            kept = self._kept.pop(partition, None)
            unused = self._unused()
        for old in unused:
            old.reader.close()
        reader = kept.reader if kept else PartitionReader(settings, partition)
        try:
            yield reader
        except GeneratorExit:
            self._give_back(partition, reader)
            raise
        except BaseException:
            reader.close()
            raise
        self._give_back(partition, reader)

    def recreated(self, topic: str, topic_id: str) -> bool:
        """Whether the topic has another id than when this was last asked; an unknown id ("") tells nothing."""
        with self._lock:
            before = self._topic_ids.get(topic, "")
            self._topic_ids[topic] = topic_id or before
            return bool(before and topic_id and before != topic_id)

    def recreated_since(self, partition: Partition) -> bool:
        """Whether the partition is one of an earlier topic of that name, as far as is known in this process."""
        with self._lock:
            known = self._topic_ids.get(partition.topic, "")
            return bool(known and partition.topic_id and known != partition.topic_id)

    def backlog(self, partition: Partition, position: int) -> int:
        """How many offsets lie behind `position`, as far as is known here without asking the broker."""
        with self._lock:
            kept = self._kept.get(partition)
            return kept.reader.backlog(position) if kept else 0

    def _give_back(self, partition: Partition, reader: PartitionReader) -> None:
        with self._lock:
            if not self._closed and partition not in self._kept:
                self._kept[partition] = _Kept(reader, time.monotonic())
                return
        reader.close()

    def _unused(self) -> list[_Kept]:
        limit = time.monotonic() - _UNUSED_SECONDS
        old = [partition for partition, kept in self._kept.items() if kept.used < limit]
        return [self._kept.pop(partition) for partition in old]
