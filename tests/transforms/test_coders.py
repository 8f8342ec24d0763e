from __future__ import annotations

from typing import Any

from apache_beam import coders
from hypothesis import given
from hypothesis import strategies as st

from models.kafka.offset_frontier import OffsetFrontier
from models.records.batch import OffsetSpan, RecordBatch
from transforms.coders import OffsetFrontierCoder, RecordBatchCoder

longs = st.integers(-(2**63), 2**63 - 1)
optional = st.none() | st.binary(max_size=20)
names = st.text(max_size=10)
spans = st.builds(OffsetSpan, names, names, st.integers(0, 2**31 - 1), longs, longs, longs)
records = st.tuples(longs, longs, optional, optional, st.lists(st.tuples(names, optional), max_size=3).map(tuple))


@st.composite
def batches(draw: st.DrawFn) -> RecordBatch:
    columns: list[list[Any]] = [list(column) for column in zip(*draw(st.lists(records, max_size=5)), strict=True)]
    offsets, timestamps, keys, values, headers = columns or [[]] * 5
    gap, committed = draw(st.none() | names), draw(longs)
    return RecordBatch.of(draw(spans), offsets, timestamps, keys, values, headers, gap, committed)


@given(batch=batches())
def test_a_batch_survives_its_coder(batch: RecordBatch) -> None:
    coder = RecordBatchCoder()
    assert coder.decode(coder.encode(batch)) == batch


@given(batch=batches())
def test_equal_batches_have_equal_bytes(batch: RecordBatch) -> None:
    coder = RecordBatchCoder()
    assert coder.encode(coder.decode(coder.encode(batch))) == coder.encode(batch)
    assert coder.is_deterministic()


def test_beam_finds_it_by_the_type() -> None:
    assert isinstance(coders.registry.get_coder(RecordBatch), RecordBatchCoder)
    assert RecordBatchCoder().to_type_hint() is RecordBatch


@given(st.builds(OffsetFrontier, longs, st.lists(st.tuples(longs, longs), max_size=4).map(tuple)))
def test_a_frontier_survives_the_coder_of_the_state_that_holds_it(frontier: OffsetFrontier) -> None:
    assert OffsetFrontierCoder().decode(OffsetFrontierCoder().encode(frontier)) == frontier
