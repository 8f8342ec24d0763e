from __future__ import annotations

import pickle
import random
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from confluent_kafka import TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from models.errors import OffsetsNotCommittedError
from models.kafka.client import KafkaSettings
from models.kafka.offset_frontier import OffsetFrontier
from models.records.batch import OffsetSpan
from tests.conftest import MakeTopic
from tests.transforms.bundles import eventually
from transforms.offset_commits import CommitSpans, GroupCommitter, GroupOffsets, JoinSpans, by_partition

GROUP = "commits"


@pytest.fixture
def topic(make_topic: MakeTopic, topic_names: Callable[[str], str]) -> str:
    return make_topic(topic_names("committed"), partitions=2)


def span(topic: str, start: int, end: int, origin: int = 0, partition: int = 0, topic_id: str = "id") -> OffsetSpan:
    return OffsetSpan(topic, topic_id, partition, origin, start, end)


def committed(kafka: KafkaSettings, topic: str, partition: int = 0) -> tuple[int, str | None]:
    consumer = kafka.consumer(GROUP)
    (where,) = consumer.committed([TopicPartition(topic, partition)], timeout=10)
    consumer.close()
    return where.offset, where.metadata


def test_the_newest_frontier_of_each_partition_is_committed_with_the_topics_id(
    kafka: KafkaSettings, topic: str
) -> None:
    committer = GroupCommitter(kafka, GROUP)
    for offset in range(49):
        committer.acknowledge(span(topic, offset, offset + 1))
    committer.acknowledge(span(topic, 0, 7, partition=1))
    eventually(lambda: committed(kafka, topic, 0) == (49, "id") and committed(kafka, topic, 1) == (7, "id"))
    committer.close()


def test_closing_commits_what_is_pending(kafka: KafkaSettings, topic: str) -> None:
    committer = GroupCommitter(kafka, GROUP)
    committer.acknowledge(span(topic, 0, 5))
    committer.acknowledge(span(topic, 5, 6))
    committer.close()
    assert committed(kafka, topic) == (6, "id")


def test_what_lies_behind_a_hole_is_not_committed_until_the_hole_is_filled(kafka: KafkaSettings, topic: str) -> None:
    committer = GroupCommitter(kafka, GROUP)
    committer.acknowledge(span(topic, 10, 20, origin=10))
    committer.acknowledge(span(topic, 30, 40, origin=10))
    eventually(lambda: committed(kafka, topic)[0] == 20)
    committer.acknowledge(span(topic, 20, 30, origin=10))
    committer.close()
    assert committed(kafka, topic)[0] == 40


def test_spans_in_any_order_and_again_end_at_their_end(kafka: KafkaSettings, topic: str) -> None:
    spans = [span(topic, start, start + 5, origin=10) for start in range(10, 210, 5)] * 2
    random.Random(7).shuffle(spans)
    committer = GroupCommitter(kafka, GROUP)
    for one in spans:
        committer.acknowledge(one)
    committer.close()
    assert committed(kafka, topic)[0] == 210


def test_a_recreated_topic_begins_at_its_own_origin(kafka: KafkaSettings, topic: str) -> None:
    committer = GroupCommitter(kafka, GROUP)
    committer.acknowledge(span(topic, 0, 500, topic_id="old"))
    eventually(lambda: committed(kafka, topic) == (500, "old"))
    committer.acknowledge(span(topic, 0, 3, topic_id="new"))
    committer.close()
    assert committed(kafka, topic) == (3, "new")


def test_the_dofns_of_a_pipeline_share_a_committer_and_the_last_one_commits(kafka: KafkaSettings, topic: str) -> None:
    pickled = pickle.dumps(CommitSpans(GroupOffsets(kafka, GROUP)))
    do_fns = [pickle.loads(pickled) for _ in range(2)]
    for one in do_fns:
        one.setup()
    do_fns[0].process(span(topic, 4, 9))
    do_fns[1].process(span(topic, 0, 4))
    for one in do_fns:
        one.teardown()
    assert committed(kafka, topic)[0] == 9
    do_fns[0].teardown()  # after all are gone this changes nothing


def test_a_commit_that_fails_is_said_once_and_tried_again(
    kafka: KafkaSettings, topic: str, caplog: pytest.LogCaptureFixture
) -> None:
    # Another program is a member of the group: the broker refuses commits from outside.
    member = kafka.consumer(f"{GROUP}-{topic}")
    member.subscribe([topic])
    eventually(lambda: (member.poll(0.1), member.assignment())[1])
    committer = GroupCommitter(kafka, f"{GROUP}-{topic}")
    committer.acknowledge(span(topic, 0, 3))
    # (The member sends its heartbeats in a separate thread.)
    eventually(lambda: "give this one a --group of its own" in caplog.text)
    for offset in (3, 4):
        committer.acknowledge(span(topic, offset, offset + 1))
    member.close()

    def is_committed() -> bool:
        consumer = kafka.consumer(f"{GROUP}-{topic}")
        (where,) = consumer.committed([TopicPartition(topic, 0)], timeout=10)
        consumer.close()
        return bool(where.offset == 5)

    eventually(is_committed)
    committer.close()
    assert caplog.text.count("could not be committed") == 1


class Breaking(GroupCommitter):
    """A committer whose commits fail unexpectedly this many times."""

    def __init__(self, kafka: KafkaSettings, failures: int) -> None:
        self.left = failures
        super().__init__(kafka, GROUP)

    def _commit(self, offsets: list[TopicPartition]) -> bool:
        if self.left:
            self.left -= 1
            raise RuntimeError("never thought of")
        return super()._commit(offsets)

    def stop(self) -> None:
        """Waits until the committing thread has ended."""
        self._thread.join(30)
        assert not self._thread.is_alive()


def test_an_unexpected_error_of_a_commit_is_followed_by_other_attempts(kafka: KafkaSettings, topic: str) -> None:
    committer = Breaking(kafka, failures=4)
    committer.acknowledge(span(topic, 0, 3))
    eventually(lambda: committed(kafka, topic)[0] == 3)
    committer.close()


def test_a_committer_that_stopped_fails_a_bundle_and_starts_again(
    kafka: KafkaSettings, topic: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("transforms.offset_commits._COMMIT_SECONDS", 0.01)
    committer = Breaking(kafka, failures=5)
    committer.acknowledge(span(topic, 0, 3))
    committer.stop()
    assert "offsets are no longer committed" in caplog.text
    with pytest.raises(OffsetsNotCommittedError, match="RuntimeError: never thought of"):
        committer.acknowledge(span(topic, 3, 5))
    committer.acknowledge(span(topic, 3, 5))
    committer.close()
    assert committed(kafka, topic)[0] == 5


@dataclass
class KeyedState:
    """The state of one key."""

    value: OffsetFrontier | None = None

    def read(self) -> OffsetFrontier | None:
        return self.value

    def write(self, value: OffsetFrontier) -> None:
        self.value = value


@given(st.permutations([(start, start + 5) for start in range(10, 60, 5)] * 2))
def test_spans_joined_in_keyed_state_grow_without_a_hole_whatever_their_order(spans: list[tuple[int, int]]) -> None:
    state, join, last = KeyedState(), JoinSpans(), 10
    done: set[int] = set()
    for start, end in spans:
        done.update(range(start, end))
        reach = next(offset for offset in range(10, 61) if offset not in done)
        joined = list(join.process(by_partition(span("topic", start, end, origin=10)), state))
        assert [(one.start, one.end) for one in joined] == ([(10, reach)] if reach > last else [])
        last = reach
    assert last == 60


def test_partitions_and_recreated_topics_have_keys_of_their_own() -> None:
    spans = [span("a", 0, 1), span("b", 0, 1), span("a", 0, 1, partition=1), span("a", 0, 1, topic_id="new")]
    assert len({by_partition(one)[0] for one in spans}) == 4
