from __future__ import annotations

from collections.abc import Generator

import pytest

from models.kafka.client import KafkaSettings
from models.kafka.partition_reader import Partition, ReadSettings
from transforms import partition_readers
from transforms.partition_readers import PartitionReaders

SETTINGS = ReadSettings(KafkaSettings("127.0.0.1:1"), "group")
FIRST, SECOND = Partition("t", "", 0), Partition("t", "", 1)


class FakeReader:
    made: list[FakeReader]

    def __init__(self, settings: ReadSettings, partition: Partition) -> None:
        self.partition = partition
        self.closed = 0
        FakeReader.made.append(self)

    def close(self) -> None:
        self.closed += 1

    def backlog(self, position: int) -> int:
        return 100 - position


@pytest.fixture
def readers(monkeypatch: pytest.MonkeyPatch) -> PartitionReaders:
    FakeReader.made = []
    monkeypatch.setattr(partition_readers, "PartitionReader", FakeReader)
    return PartitionReaders()


def test_a_partition_keeps_its_reader_between_bundles(readers: PartitionReaders) -> None:
    for partition in (FIRST, SECOND, FIRST, SECOND):
        with readers.lease(SETTINGS, partition) as reader:
            assert reader.partition == partition  # type: ignore[attr-defined]
    assert len(FakeReader.made) == 2
    assert not any(reader.closed for reader in FakeReader.made)


def test_a_leased_reader_is_not_leased_twice(readers: PartitionReaders) -> None:
    with readers.lease(SETTINGS, FIRST) as one, readers.lease(SETTINGS, FIRST) as other:
        assert one is not other
    kept, surplus = sorted(FakeReader.made, key=lambda reader: reader.closed)
    assert (kept.closed, surplus.closed) == (0, 1)


def test_a_reader_is_closed_after_an_exception(readers: PartitionReaders) -> None:
    with pytest.raises(RuntimeError), readers.lease(SETTINGS, FIRST):
        raise RuntimeError
    with readers.lease(SETTINGS, FIRST):
        pass
    assert [reader.closed for reader in FakeReader.made] == [1, 0]


def test_a_generator_that_is_closed_within_a_lease_returns_the_reader(readers: PartitionReaders) -> None:
    def bundle() -> Generator[int, None, None]:
        with readers.lease(SETTINGS, FIRST):
            yield 1
            yield 2

    running = bundle()
    assert next(running) == 1
    running.close()
    with readers.lease(SETTINGS, FIRST):
        pass
    (reader,) = FakeReader.made
    assert reader.closed == 0


def test_a_reader_that_is_unused_for_a_minute_is_closed(
    readers: PartitionReaders, monkeypatch: pytest.MonkeyPatch
) -> None:
    with readers.lease(SETTINGS, FIRST):
        pass
    monkeypatch.setattr(partition_readers, "_UNUSED_SECONDS", -1.0)
    with readers.lease(SETTINGS, SECOND):
        pass
    assert [reader.closed for reader in FakeReader.made] == [1, 0]


def test_a_reader_that_is_leased_when_all_are_closed_is_closed_on_its_return(readers: PartitionReaders) -> None:
    with readers.lease(SETTINGS, SECOND):
        pass
    with readers.lease(SETTINGS, FIRST) as reader:
        readers.close()
        assert reader.closed == 0  # type: ignore[attr-defined]
    assert [one.closed for one in FakeReader.made] == [1, 1]


def test_the_backlog_is_known_without_a_request(readers: PartitionReaders) -> None:
    assert readers.backlog(FIRST, 30) == 0, "nothing is known yet"
    with readers.lease(SETTINGS, FIRST):
        pass
    assert readers.backlog(FIRST, 30) == 70


def test_a_topic_is_recreated_when_its_id_changes(readers: PartitionReaders) -> None:
    told = [readers.recreated("t", topic_id) for topic_id in ("a", "a", "", "a", "b", "b", "")]
    assert told == [False, False, False, False, True, False, False]
    assert not readers.recreated("other", "c")


def test_partitions_of_the_earlier_topic_are_distinguished_from_the_new_ones(readers: PartitionReaders) -> None:
    old, new, unknown = (Partition("t", topic_id, 0) for topic_id in ("a", "b", ""))
    assert not readers.recreated_since(old), "nothing is known yet"
    readers.recreated("t", "a")
    assert not readers.recreated_since(old)
    readers.recreated("t", "b")
    assert [readers.recreated_since(one) for one in (old, new, unknown)] == [True, False, False]
