from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from models.model_topic.position import encode_position, newest_positions

POSITIONS = st.lists(
    st.tuples(st.sampled_from(["", "a", "ab", "b", "a" * 22]) | st.text(max_size=5), st.integers(0, 2**63 - 1))
)


@given(POSITIONS, st.randoms())
def test_the_newest_of_each_topic_counts_in_any_order_and_however_often(
    positions: list[tuple[str, int]], order: random.Random
) -> None:
    encodable = [one for one in positions if one[0].isprintable()]
    newest: dict[str, int] = {}
    for topic_id, offset in encodable:
        newest[topic_id] = max(offset, newest.get(topic_id, 0))
    encoded = [encode_position(*one) for one in encodable] * 2
    order.shuffle(encoded)
    assert newest_positions(encoded) == newest


def test_what_is_not_a_position_is_skipped() -> None:
    assert newest_positions([7, b"", encode_position("id", 3), None]) == {"id": 3}
