"""The Kafka consumers of a worker process: one per partition, kept between bundles.

Runners end bundles often. A new consumer for each bundle would spend its time on connecting, and would lose the
records that librdkafka has prefetched.
"""

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
    """The partition readers of one pipeline in this process. Thread-safe; one thread at a time leases each reader.

    A reader that has not been leased for a minute is closed, because by then another worker reads its partition.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._closed = False
        self._kept: dict[Partition, _Kept] = {}
        self._topic_ids: dict[str, str] = {}

    def close(self) -> None:
        """Closes all readers; leased ones are closed when they are returned."""
        with self._lock:
            self._closed = True
            kept, self._kept = self._kept, {}
        for one in kept.values():
            one.reader.close()

    @contextmanager
    def lease(self, settings: ReadSettings, partition: Partition) -> Iterator[PartitionReader]:
        """Leases the reader of a partition for the duration of a with block; the first lease creates it.

        After an exception the reader is closed instead of kept, because the state of its consumer is unknown.
        """
        with self._lock:
            kept = self._kept.pop(partition, None)
            unused = self._unused()
        for old in unused:
            old.reader.close()
        reader = kept.reader if kept else PartitionReader(settings, partition)
        try:
            yield reader
        except GeneratorExit:
            # Raised when a bundle's generator is closed early, such as on a checkpoint. The reader is not at fault.
            self._give_back(partition, reader)
            raise
        except BaseException:
            reader.close()
            raise
        self._give_back(partition, reader)

    def recreated(self, topic: str, topic_id: str) -> bool:
        """Whether the topic's id differs from the one in the previous call; an unknown id ("") changes nothing."""
        with self._lock:
            before = self._topic_ids.get(topic, "")
            self._topic_ids[topic] = topic_id or before
            return bool(before and topic_id and before != topic_id)

    def recreated_since(self, partition: Partition) -> bool:
        """Whether the partition belongs to an earlier topic of the same name, as far as this process knows."""
        with self._lock:
            known = self._topic_ids.get(partition.topic, "")
            return bool(known and partition.topic_id and known != partition.topic_id)

    def backlog(self, partition: Partition, position: int) -> int:
        """The number of offsets after `position`, as known without a request to the broker; 0 if unknown."""
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
