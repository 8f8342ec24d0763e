from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from models.kafka.offset_frontier import OffsetFrontier

Span = tuple[int, int]


@st.composite
def tilings(draw: st.DrawFn) -> tuple[int, list[Span]]:
    """A start, and spans without gaps from there; some are empty."""
    start = draw(st.integers(0, 10**12))
    spans: list[Span] = []
    for length in draw(st.lists(st.integers(0, 5), max_size=12)):
        spans.append((spans[-1][1] if spans else start, (spans[-1][1] if spans else start) + length))
    return start, spans


@given(tilings(), st.data())
def test_the_spans_of_a_tiling_end_at_its_end_in_any_order_and_with_duplicates(
    tiling: tuple[int, list[Span]], data: st.DataObject
) -> None:
    start, spans = tiling
    again = data.draw(st.lists(st.sampled_from(spans), max_size=5)) if spans else []
    frontier = OffsetFrontier(start)
    for span in data.draw(st.permutations([*spans, *again])):
        frontier = frontier.add(*span)
    assert frontier == OffsetFrontier(spans[-1][1] if spans else start)


@given(st.integers(0, 20), st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=12))
def test_the_frontier_holds_what_was_added_and_nothing_else(start: int, spans: list[Span]) -> None:
    frontier, done = OffsetFrontier(start), set(range(start))
    for one, other in spans:
        before = frontier
        frontier = frontier.add(one, other)
        done.update(range(one, other))
        assert frontier.position >= before.position
        # The position is exactly before the first gap, and the rest is in the islands.
        assert frontier.position == next(offset for offset in range(100) if offset not in done)
        islands = {offset for island in frontier.islands for offset in range(*island)}
        assert islands == {offset for offset in done if offset > frontier.position}
        assert all(left[1] < right[0] for left, right in zip(frontier.islands, frontier.islands[1:], strict=False))


def test_a_hole_holds_the_position_back() -> None:
    frontier = OffsetFrontier(5).add(10, 20).add(20, 30)
    assert frontier == OffsetFrontier(5, ((10, 30),))
    assert frontier.add(5, 10) == OffsetFrontier(30)
