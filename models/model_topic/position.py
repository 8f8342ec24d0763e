"""Positions of the models topic, as they travel through the pipeline's side input.

A position is a topic id and an offset in that topic. Within one topic positions only grow, so the newest position of
each topic is sufficient, in whatever order and however often positions arrive. A recreated topic has another id, so
its small positions are not mistaken for old ones. A late position of the earlier topic does no harm either: workers
only treat a position as a hint that something changed, and ask the broker for the current topic.

Positions are encoded by hand, in about thirty bytes: Beam takes fifty times as long to decode a tuple as to decode
bytes, and a runner may pass on all positions so far.
"""

from __future__ import annotations

from collections.abc import Iterable

_OFFSET_BYTES = 8


def encode_position(topic_id: str, offset: int) -> bytes:
    """Encodes the position just before `offset`; the topic id is empty if the broker does not provide one.

    >>> newest_positions([encode_position("id", 7), encode_position("id", 3)])
    {'id': 7}
    """
    return topic_id.encode() + offset.to_bytes(_OFFSET_BYTES, "big")


def newest_positions(encoded: Iterable[object]) -> dict[str, int]:
    """The newest offset of each topic id.

    Elements that are not positions are skipped. There are two kinds: the plain number that stands in until the first
    position arrives, and the elements in a savepoint of an earlier release. Skipping those loses nothing, because a
    worker asks the broker for the current position when it starts.
    """
    positions = [one for one in encoded if isinstance(one, bytes) and len(one) >= _OFFSET_BYTES]
    topics = {one[:-_OFFSET_BYTES] for one in positions}
    if len(topics) == 1:
        newest = [max(positions)]
    else:
        newest = [max(one for one in positions if one[:-_OFFSET_BYTES] == topic) for topic in sorted(topics)]
    return {one[:-_OFFSET_BYTES].decode(): int.from_bytes(one[-_OFFSET_BYTES:], "big") for one in newest}
