from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.transforms import trigger
from hypothesis import given
from hypothesis import strategies as st

from models.encoding.dead_letter import decode_dead_letter
from models.encoding.single_object import bundled_codec
from models.errors import DescriptorError
from models.model_topic.catalog import ModelCatalog
from models.model_topic.descriptor import ModelDescriptor, ModelPointer, encode_descriptor, encode_pointer
from models.records.batch import OffsetSpan, OutgoingBatch, RecordBatch
from transforms.model_updates import REJECTED, UPDATE_PACE, CheckDescriptors, ModelUpdates, NewestPosition

DESCRIPTOR = encode_descriptor(ModelDescriptor("m", "t", 1, model_source_location="nowhere"))
POINTER = encode_pointer(ModelPointer("m", 1))


def batch(messages: list[tuple[bytes | None, bytes | None]], start: int = 0, committed: int = 0) -> RecordBatch:
    offsets = list(range(start, start + len(messages)))
    return RecordBatch(
        OffsetSpan("models", "id", 0, 0, start, start + len(messages)),
        offsets,
        [0] * len(messages),
        [key for key, _ in messages],
        [value for _, value in messages],
        [()] * len(messages),
        committed=committed,
    )


def check(element: RecordBatch) -> tuple[list[int], list[OutgoingBatch]]:
    outputs: list[Any] = list(CheckDescriptors("letters").process(element))
    rejected = [output.value for output in outputs if isinstance(output, beam.pvalue.TaggedOutput)]
    assert all(output.tag == REJECTED for output in outputs if isinstance(output, beam.pvalue.TaggedOutput))
    return [output for output in outputs if isinstance(output, int)], rejected


def test_good_messages_give_the_position_behind_them_and_an_empty_batch_to_commit() -> None:
    element = batch([(b"m/1", DESCRIPTOR), (b"m", POINTER), (b"m/1", None)], start=5)
    assert check(element) == ([8], [OutgoingBatch(element.span, [])])


def test_a_malformed_message_becomes_a_dead_letter_and_the_position_goes_on() -> None:
    positions, (rejected,) = check(batch([(b"m/1", DESCRIPTOR), (b"m/2", b"garbage"), (None, DESCRIPTOR)]))
    assert positions == [3]
    letters = [decode_dead_letter(message.value or b"") for message in rejected.messages]
    assert [(letter.offset, letter.key, letter.value) for letter in letters] == [
        (1, b"m/2", b"garbage"),
        (2, None, DESCRIPTOR),
    ]
    assert [message.topic for message in rejected.messages] == ["letters"] * 2


def test_a_name_that_is_too_long_becomes_a_small_dead_letter_once() -> None:
    name = "n" * 400_000
    written = bundled_codec("model_descriptor").decode(DESCRIPTOR)
    value = bundled_codec("model_descriptor").encode({**written, "modelName": name})
    messages: list[tuple[bytes | None, bytes | None]] = [(b"m/1", value), (f"{name}/1".encode(), None)]
    positions, (rejected,) = check(batch(messages))
    assert positions == [2]
    for message in rejected.messages:
        letter = decode_dead_letter(message.value or b"")
        assert "249 at most" in letter.reason
        assert len(letter.reason) < 200
    assert check(batch(messages, committed=2))[1][0].messages == []


def test_what_an_earlier_run_has_reported_is_not_reported_again() -> None:
    positions, (rejected,) = check(batch([(b"x/1", b"old"), (b"x/2", b"new")], start=10, committed=11))
    assert positions == [12]
    assert [message.offset for message in rejected.messages] == [11]


@given(messages=st.lists(st.tuples(st.none() | st.binary(max_size=5), st.none() | st.binary(max_size=30)), max_size=10))
def test_exactly_what_the_catalog_refuses_is_rejected(messages: list[tuple[bytes | None, bytes | None]]) -> None:
    refused = []
    for offset, (key, value) in enumerate(messages):
        try:
            ModelCatalog().apply(offset, key, value)
        except DescriptorError:
            refused.append(offset)
    _, (rejected,) = check(batch(messages))
    assert [message.offset for message in rejected.messages] == refused


def test_at_most_ten_positions_a_second_reach_the_side_input() -> None:
    assert UPDATE_PACE.batches == 1
    for backlog in (0, 1_000_000):
        assert UPDATE_PACE.pause(took=True, backlog=backlog).micros >= 100_000
    assert UPDATE_PACE.heartbeat_seconds == 0


@pytest.mark.parametrize("firing", ["default", "each"])
def test_the_view_fires_as_the_runner_wants_it(firing: Any) -> None:
    pipeline = beam.Pipeline()
    positions = pipeline | beam.Create([1])
    view = ModelUpdates(positions, positions).as_view(firing)
    windowing = view.pvalue.windowing
    assert isinstance(view, beam.pvalue.AsIter)
    if firing == "default":
        assert windowing.is_default()
        return
    assert windowing.triggerfn == trigger.Repeatedly(trigger.AfterCount(1))
    assert windowing.accumulation_mode == trigger.AccumulationMode.DISCARDING


def test_the_side_input_is_looked_at_again_only_after_a_while_and_the_newest_position_counts() -> None:
    newest = NewestPosition(seconds=0.05)
    assert newest.of([3, 7, 5]) == 7
    assert newest.of(Undecodable()) == 7
    time.sleep(0.06)
    assert newest.of([8]) == 8


def test_a_side_input_without_a_position_says_0() -> None:
    assert NewestPosition().of([]) == 0


class Undecodable(list[int]):
    """A side input that must not be looked at."""

    def __iter__(self) -> Iterator[int]:
        raise AssertionError("it was decoded")
