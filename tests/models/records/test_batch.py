from __future__ import annotations

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from models.records.batch import Headers, OffsetSpan, RecordBatch
from tests.models.fakes import LONGS, TEXTS

VALUES = st.none() | st.binary(max_size=20)
HEADERS = st.lists(st.tuples(TEXTS, VALUES), max_size=3).map(tuple)
SPANS = st.builds(OffsetSpan, TEXTS, TEXTS, st.integers(0, 2**31 - 1), LONGS, LONGS, LONGS)
RECORDS = st.lists(st.tuples(LONGS, LONGS, VALUES, VALUES, HEADERS), max_size=8)

Record = tuple[int, int, bytes | None, bytes | None, Headers]


def batch(span: OffsetSpan, records: list[Record], gap: str | None = None, committed: int = 0) -> RecordBatch:
    columns = [list(column) for column in zip(*records, strict=True)] or [[], [], [], [], []]
    offsets, timestamps, keys, values, headers = columns
    return RecordBatch.of(span, offsets, timestamps, keys, values, headers, gap, committed)


@given(SPANS, RECORDS, st.none() | TEXTS, LONGS)
def test_a_batch_is_read_as_it_was_written(
    span: OffsetSpan, records: list[Record], gap: str | None, committed: int
) -> None:
    written = batch(span, records, gap, committed)
    read = RecordBatch.from_bytes(written.to_bytes())
    assert read == written
    assert read.to_bytes() == written.to_bytes()
    assert len(read) == len(records)


@given(SPANS, RECORDS, RECORDS)
def test_batches_have_equal_bytes_exactly_when_they_are_equal(
    span: OffsetSpan, left: list[Record], right: list[Record]
) -> None:
    assert (batch(span, left).to_bytes() == batch(span, right).to_bytes()) == (left == right)


def test_nothing_and_empty_stay_apart() -> None:
    span = OffsetSpan("t", "", 0, 0, 0, 2)
    written = batch(span, [(0, 0, None, b"", (("h", None),)), (1, 0, b"", None, (("h", b""), ("h", b"again")))])
    assert RecordBatch.from_bytes(written.to_bytes()) == written


def test_a_large_batch_is_copied_twice_at_most() -> None:
    size = 10_000_000
    written = batch(OffsetSpan("t", "", 0, 0, 0, 1), [(0, 0, None, bytes(size), ())])
    tracemalloc.start()
    content = written.to_bytes()
    assert tracemalloc.get_traced_memory()[1] < 2.1 * size
    tracemalloc.stop()
    assert RecordBatch.from_bytes(content) == written
