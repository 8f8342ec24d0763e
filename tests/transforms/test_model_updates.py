from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.transforms import trigger
from hypothesis import given
from hypothesis import strategies as st

from models.encoding.single_object import bundled_codec
from models.model_topic.descriptor import ModelDescriptor, ModelPointer, encode_descriptor, encode_pointer
from models.model_topic.position import encode_position
from models.records.batch import OffsetSpan, RecordBatch
from models.records.outgoing import OutgoingBatch
from models.results.dead_letter import decode_dead_letter
from transforms.model_updates import (
    REJECTED,
    UPDATE_PACE,
    CheckDescriptors,
    ModelUpdates,
    NewestPositions,
    _no_position,
)

DESCRIPTOR = encode_descriptor(ModelDescriptor("m", "t", 1, model_source_location="nowhere"))
POINTER = encode_pointer(ModelPointer("m", 1))


def batch(messages: list[tuple[bytes | None, bytes | None]], start: int = 0, committed: int = 0) -> RecordBatch:
    offsets = list(range(start, start + len(messages)))
    return RecordBatch.of(
        OffsetSpan("models", "id", 0, 0, start, start + len(messages)),
        offsets,
        [0] * len(messages),
        [key for key, _ in messages],
        [value for _, value in messages],
        [()] * len(messages),
        committed=committed,
    )


def at(offset: int, topic_id: str = "id") -> bytes:
    return encode_position(topic_id, offset)


def check(element: RecordBatch) -> tuple[list[bytes], list[OutgoingBatch]]:
    check = CheckDescriptors("letters")
    check.setup()
    outputs: list[Any] = list(check.process(element))
    check.teardown()
    rejected = [output.value for output in outputs if isinstance(output, beam.pvalue.TaggedOutput)]
    assert all(output.tag == REJECTED for output in outputs if isinstance(output, beam.pvalue.TaggedOutput))
    return [output for output in outputs if isinstance(output, bytes)], rejected


def test_good_messages_give_the_position_after_them_and_an_empty_batch_to_commit() -> None:
    element = batch([(b"m/1", DESCRIPTOR), (b"m", POINTER), (b"m/1", None)], start=5)
    assert check(element) == ([at(8)], [OutgoingBatch(element.span, [])])


def test_a_malformed_message_becomes_a_dead_letter_and_the_position_advances() -> None:
    positions, (rejected,) = check(batch([(b"m/1", DESCRIPTOR), (b"m/2", b"garbage"), (None, DESCRIPTOR)]))
    assert positions == [at(3)]
    letters = [decode_dead_letter(message.value or b"") for message in rejected]
    assert [(letter.offset, letter.key, letter.value) for letter in letters] == [
        (1, b"m/2", b"garbage"),
        (2, None, DESCRIPTOR),
    ]
    assert [message.topic for message in rejected] == ["letters"] * 2


def test_a_name_that_is_too_long_becomes_a_small_dead_letter_once() -> None:
    name = "n" * 400_000
    written = bundled_codec("model_descriptor").decode(DESCRIPTOR)
    value = bundled_codec("model_descriptor").encode({**written, "modelName": name})
    messages: list[tuple[bytes | None, bytes | None]] = [(b"m/1", value), (f"{name}/1".encode(), None)]
    positions, (rejected,) = check(batch(messages))
    assert positions == [at(2)]
    for message in rejected:
        letter = decode_dead_letter(message.value or b"")
        assert "the limit is 249" in letter.reason
        assert len(letter.reason) < 200
    assert list(check(batch(messages, committed=2))[1][0]) == []


def test_messages_that_an_earlier_run_reported_are_not_reported_again() -> None:
    positions, (rejected,) = check(batch([(b"x/1", b"old"), (b"x/2", b"new")], start=10, committed=11))
    assert positions == [at(12)]
    assert [message.offset for message in rejected] == [11]


RETIREMENT = encode_pointer(ModelPointer("m", None, 1, 1))
OTHER = encode_descriptor(ModelDescriptor("x", "t", 1, model_source_location="nowhere"))

# The forms that a message of the models topic may have, case by case, for all publishers.
GOOD: list[tuple[bytes | None, bytes | None]] = [
    (b"m/1", DESCRIPTOR),  # a version
    (b"m", POINTER),  # which version is live
    (b"m", RETIREMENT),  # none is
    (b"m", DESCRIPTOR),  # version and pointer in one
    (b"m/1", None),  # a deleted version
    (b"m/1", b""),
    (b"m", None),  # a deleted pointer
]
MALFORMED: list[tuple[bytes | None, bytes | None]] = [
    (None, DESCRIPTOR),  # of no model
    (None, None),
    (b"", DESCRIPTOR),
    (b"m/2", DESCRIPTOR),  # of another version
    (b"x/1", DESCRIPTOR),  # of another model
    (b"x", POINTER),
    (b"m/1", OTHER),
    (b"m/1", POINTER),  # a pointer belongs to the bare name
    (b"m/0", DESCRIPTOR),
    (b"m/-1", DESCRIPTOR),
    (b"m/one", DESCRIPTOR),
    (b"\xff", DESCRIPTOR),  # not a text
    (b"m/1", b"garbage"),
    (b"m/1", DESCRIPTOR[:-1]),  # cut short
    (b"m/1", DESCRIPTOR + b"x"),  # more than a descriptor
    (b"m", POINTER[:-1]),
]
CASES = st.tuples(st.sampled_from(GOOD), st.just(True)) | st.tuples(st.sampled_from(MALFORMED), st.just(False))


@given(cases=st.lists(CASES, max_size=10), start=st.integers(0, 2**40))
def test_exactly_the_malformed_messages_are_rejected(
    cases: list[tuple[tuple[bytes | None, bytes | None], bool]], start: int
) -> None:
    element = batch([message for message, _ in cases], start)
    _, (rejected,) = check(element)
    malformed = [start + place for place, (_, good) in enumerate(cases) if not good]
    assert [message.offset for message in rejected] == malformed


@pytest.mark.parametrize("message", MALFORMED, ids=str)
def test_a_malformed_message_is_rejected(message: tuple[bytes | None, bytes | None]) -> None:
    _, (rejected,) = check(batch([message]))
    assert [one.offset for one in rejected] == [0]


@pytest.mark.parametrize("message", GOOD, ids=str)
def test_a_good_message_is_not_rejected(message: tuple[bytes | None, bytes | None]) -> None:
    _, (rejected,) = check(batch([message]))
    assert list(rejected) == []


def test_at_most_ten_positions_a_second_reach_the_side_input() -> None:
    assert UPDATE_PACE.batches == 1
    for more in (False, True):
        assert UPDATE_PACE.pause(took=True, more=more).micros >= 100_000
    assert UPDATE_PACE.heartbeat_seconds == 0


@pytest.mark.parametrize("firing", ["default", "each"])
def test_the_view_fires_as_the_runner_needs(firing: Any) -> None:
    pipeline = beam.Pipeline()
    positions = pipeline | beam.Create([at(1)])
    view = ModelUpdates(positions, positions).as_view(firing)
    windowing = view.pvalue.windowing
    assert isinstance(view, beam.pvalue.AsIter)
    if firing == "default":
        assert windowing.is_default()
        return
    assert windowing.triggerfn == trigger.Repeatedly(trigger.AfterCount(1))
    assert windowing.accumulation_mode == trigger.AccumulationMode.DISCARDING


class Clock:
    """A clock that stands still until a test advances it."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_side_input_is_read_again_only_after_a_pause_and_the_newest_position_counts() -> None:
    clock = Clock()
    newest = NewestPositions(seconds=0.5, clock=clock)
    assert newest.of([at(3), at(700), at(5)]) == {"id": 700}
    clock.now += 0.49
    assert newest.of(Undecodable()) == {"id": 700}
    clock.now += 0.01
    assert newest.of([at(800)]) == {"id": 800}


def test_a_recreated_topic_has_a_newest_position_of_its_own() -> None:
    positions = [at(500, "old"), at(3, "new"), at(400, "old"), at(2, "new"), at(9, "")]
    assert NewestPositions().of(positions) == {"old": 500, "new": 3, "": 9}


def test_a_side_input_without_a_position_gives_none() -> None:
    assert NewestPositions().of([]) == {}
    assert NewestPositions().of([_no_position(b"")]) == {}  # type: ignore[list-item]


class Undecodable(list[bytes]):
    """A side input that must not be decoded."""

    def __iter__(self) -> Iterator[bytes]:
        raise AssertionError("it was decoded")
