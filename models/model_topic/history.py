"""The history of the models topic: published versions and changes of routes, as far as compaction has kept them."""

from __future__ import annotations

import datetime
from collections import deque
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

from models.kafka.client import KafkaSettings
from models.model_topic.catalog import CatalogMessage, ModelCatalog
from models.model_topic.descriptor import ModelDescriptor, ModelPointer, decode_message, parse_key
from models.model_topic.names import routed_data_type
from models.model_topic.reader import ModelsTopicReader
from models.model_topic.route import Arm, Fence, Generation, Segment
from models.model_topic.route_encoding import decode_route


@dataclass(frozen=True)
class HistoryEntry:
    """One message of the models topic.

    Attributes:
      offset: the offset of the message.
      at: the time when it was written, in milliseconds since 1970-01-01 UTC; 0 if the message does not contain it.
      subject: the model, or `route/DATA_TYPE`.
      change: a description of the change, for people.
    """

    offset: int
    at: int
    subject: str
    change: str


def read_history(kafka: KafkaSettings, topic: str) -> list[HistoryEntry]:
    """The messages of the models topic, the oldest first, without malformed ones.

    Raises:
      KafkaUnreachableError, ModelsTopicError: the topic cannot be read.
    """
    history = RecordedCatalog()
    with closing(ModelsTopicReader(kafka, topic)) as reader:
        reader.catch_up(history, reader.end())
    return list(history.entries)


class RecordedCatalog(ModelCatalog):
    """A catalog that records the messages that it applies.

    Args:
      limit: how many messages, the newest ones, it records; None for all.

    Attributes:
      entries: the recorded messages, the oldest first.
    """

    def __init__(self, limit: int | None = None) -> None:
        super().__init__()
        self.entries: deque[HistoryEntry] = deque(maxlen=limit)

    def _replaced(self, messages: Sequence[CatalogMessage]) -> set[int]:
        return set()

    def apply(self, offset: int, key: bytes | None, value: bytes | None) -> None:
        super().apply(offset, key, value)
        self.entries.append(_entry(offset, key, value))


def _entry(offset: int, key: bytes | None, value: bytes | None) -> HistoryEntry:
    data_type = routed_data_type(key)
    if data_type is not None:
        if not value:
            return HistoryEntry(offset, 0, f"route/{data_type}", "the route was deleted")
        route = decode_route(value)
        return HistoryEntry(offset, route.updated_at, f"route/{data_type}", describe_generation(route.newest))
    name, number = parse_key(key)
    if not value:
        what = "was deleted" if number is None else f"version {number} was deleted"
        return HistoryEntry(offset, 0, name, what)
    message = decode_message(value)
    if isinstance(message, ModelDescriptor):
        version = message.numbered(offset).model_version if number is None else number
        return HistoryEntry(offset, message.published_at, name, f"version {version} was published")
    return HistoryEntry(offset, message.updated_at, name, _describe_pointer(message))


def _describe_pointer(pointer: ModelPointer) -> str:
    if pointer.live_version is None:
        return "was retired" if pointer.previous_version is not None else f"version {pointer.last_version} is not live"
    before = f", after version {pointer.previous_version}" if pointer.previous_version is not None else ""
    return f"version {pointer.live_version} is live{before}"


def describe_generation(generation: Generation) -> str:
    """A state of a route, on one line.

    >>> describe_generation(Generation((Segment((Arm("live", "wine", 1), Arm("new", "wine", 2, 1.0, "shadow"))),)))
    'live wine/1 100 %; shadow new wine/2 100 %'
    """
    segments = "; otherwise: ".join(_describe_segment(one) for one in generation.segments)
    split = f", split by {', '.join(generation.split_by)}" if generation.split_by else ""
    fence = "" if generation.fence is None else _describe_fence(generation.fence)
    return f"{segments}{split}{fence}{f' ({generation.note})' if generation.note else ''}"


def _describe_segment(segment: Segment) -> str:
    total = sum(arm.weight for arm in segment.arms if arm.answers)
    arms = "; ".join(_describe_arm(arm, total) for arm in segment.arms)
    return arms if segment.condition is None else f"if {segment.condition}: {arms}"


def _describe_arm(arm: Arm, total: float) -> str:
    share = arm.weight if arm.role == "shadow" else arm.weight / total
    role = "" if arm.role == "serve" else f"{arm.role} "
    return f"{role}{arm.name} {arm.label} {100 * share:.4g} %"


def _describe_fence(fence: Fence) -> str:
    if fence.timestamp is not None:
        moment = datetime.datetime.fromtimestamp(fence.timestamp / 1000, datetime.timezone.utc)
        return f", from {moment.isoformat(timespec='milliseconds')} on"
    offsets = ", ".join(f"{topic}-{partition}@{offset}" for (topic, partition), offset in sorted(fence.offsets.items()))
    return f", from {offsets} on"
