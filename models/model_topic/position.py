"""Positions of the models topic, as they travel through the pipeline's side input.

A position is a topic's id and an offset in it. Within one topic positions only grow, so that the newest of each topic
says all, in whatever order and however often they arrive. A topic that was recreated has another id: its positions
neither hide behind those of the topic before, nor does it matter which of the two a late position belongs to, because
a worker takes a position only as news, and asks the broker which topic there is now.

They are encoded by hand, in some thirty bytes: Beam decodes a tuple fifty times as slowly as bytes, and a runner may
hand over all positions so far.
"""

from __future__ import annotations

from collections.abc import Iterable

_OFFSET_BYTES = 8


def encode_position(topic_id: str, offset: int) -> bytes:
    """The position before `offset`; the id is empty where the broker does not provide one.

    >>> newest_positions([encode_position("id", 7), encode_position("id", 3)])
    {'id': 7}
    """
    return topic_id.encode() + offset.to_bytes(_OFFSET_BYTES, "big")


def newest_positions(encoded: Iterable[object]) -> dict[str, int]:
    """The newest offset of each topic id.

    What is not a position is skipped: before the first position there is a plain number, and a savepoint of an earlier
    release holds others, which say nothing that a worker does not ask the broker at its start.
    """
    positions = [one for one in encoded if isinstance(one, bytes) and len(one) >= _OFFSET_BYTES]
    topics = {one[:-_OFFSET_BYTES] for one in positions}
    if len(topics) == 1:
        newest = [max(positions)]
    else:
        newest = [max(one for one in positions if one[:-_OFFSET_BYTES] == topic) for topic in sorted(topics)]
    return {one[:-_OFFSET_BYTES].decode(): int.from_bytes(one[-_OFFSET_BYTES:], "big") for one in newest}
