"""The Kafka consumers of a worker process: one a partition, kept from bundle to bundle."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from models.partition_reader import Partition, PartitionReader, ReadSettings

_UNUSED_SECONDS = 60.0


@dataclass
class _Kept:
    reader: PartitionReader
    used: float


@dataclass
class _Run:
    """What one pipeline keeps in this process."""

    users: int = 0
    readers: dict[Partition, _Kept] = field(default_factory=dict)
    topic_ids: dict[str, str] = field(default_factory=dict)


class PartitionReaders:
    """Lends out readers. Thread-safe: a reader that is lent out is nobody else's until it comes back.

    A reader that nobody asked for in a minute is closed: its partition is read elsewhere.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs: dict[str, _Run] = {}

    def enter(self, run_id: str) -> None:
        """A DoFn of this pipeline is set up in this process."""
        with self._lock:
            self._runs.setdefault(run_id, _Run()).users += 1

    def leave(self, run_id: str) -> None:
        """A DoFn of this pipeline is torn down; the last one closes the readers."""
        with self._lock:
            run = self._runs.get(run_id)
            if run is None:
                return
            run.users -= 1
            if run.users > 0:
                return
            del self._runs[run_id]
        for kept in run.readers.values():
            kept.reader.close()

    def close_all(self) -> None:
        """Closes the readers of all pipelines of this process that are not lent out."""
        with self._lock:
            runs, self._runs = self._runs, {}
        for run in runs.values():
            for kept in run.readers.values():
                kept.reader.close()

    @contextmanager
    def lease(self, run_id: str, settings: ReadSettings, partition: Partition) -> Iterator[PartitionReader]:
        """Lends the partition's reader, made at first use; after an exception it is closed, not kept."""
        with self._lock:
            run = self._runs.setdefault(run_id, _Run())
            kept = run.readers.pop(partition, None)
            unused = self._unused(run)
        for old in unused:
            old.reader.close()
        reader = kept.reader if kept else PartitionReader(settings, partition)
        try:
            yield reader
        except GeneratorExit:
            self._give_back(run_id, partition, reader)
            raise
        except BaseException:
            reader.close()
            raise
        self._give_back(run_id, partition, reader)

    def made_anew(self, run_id: str, topic: str, topic_id: str) -> bool:
        """Whether the topic has another id than when this was last asked; an unknown id ("") tells nothing."""
        with self._lock:
            known = self._runs.setdefault(run_id, _Run()).topic_ids
            before = known.get(topic, "")
            known[topic] = topic_id or before
            return bool(before and topic_id and before != topic_id)

    def made_anew_since(self, run_id: str, partition: Partition) -> bool:
        """Whether the partition is one of an earlier topic of that name, as far as is known in this process."""
        with self._lock:
            run = self._runs.get(run_id)
            known = run.topic_ids.get(partition.topic, "") if run else ""
            return bool(known and partition.topic_id and known != partition.topic_id)

    def backlog(self, run_id: str, partition: Partition, position: int) -> int:
        """How many offsets lie behind `position`, as far as is known here without asking the broker."""
        with self._lock:
            run = self._runs.get(run_id)
            kept = run.readers.get(partition) if run else None
            return kept.reader.backlog(position) if kept else 0

    def _give_back(self, run_id: str, partition: Partition, reader: PartitionReader) -> None:
        with self._lock:
            run = self._runs.get(run_id)
            if run is not None and partition not in run.readers:
                run.readers[partition] = _Kept(reader, time.monotonic())
                return
        reader.close()

    @staticmethod
    def _unused(run: _Run) -> list[_Kept]:
        limit = time.monotonic() - _UNUSED_SECONDS
        old = [partition for partition, kept in run.readers.items() if kept.used < limit]
        return [run.readers.pop(partition) for partition in old]


READERS = PartitionReaders()
