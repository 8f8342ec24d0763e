"""Messages for the Kafka sink: runs of messages for one topic, and all messages of one input batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from models.records.batch import Headers, OffsetSpan


@dataclass(frozen=True)
class OutgoingMessage:
    """One message for the sink.

    Attributes:
      topic, key, value, headers: as they are sent.
      offset: the offset of the record that the message answers for; None if it answers for none.
    """

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    offset: int | None = None


@dataclass(frozen=True)
class OutgoingRun:
    """Messages for one topic, as columns. An object for each message would cost more than sending it.

    Attributes:
      topic: the topic of all messages.
      keys, values: as they are sent.
      headers: the headers of messages that have any, by place.
      offsets: the offsets of the records that the messages answer for.
    """

    topic: str
    keys: Sequence[bytes | None]
    values: Sequence[bytes]
    offsets: Sequence[int]
    headers: Mapping[int, Headers] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.values)

    def message(self, place: int) -> OutgoingMessage:
        """One of the messages."""
        return OutgoingMessage(
            self.topic, self.keys[place], self.values[place], self.headers.get(place, ()), self.offsets[place]
        )


@dataclass(frozen=True)
class OutgoingBatch:
    """The messages of one input batch, for any topics, which are acknowledged as a whole.

    Attributes:
      span: the offsets that are done once every message is acknowledged.
      runs: results and dead letters; each run in the order of its records.
      messages: single messages, such as status events.
    """

    span: OffsetSpan
    runs: Sequence[OutgoingRun] = ()
    messages: Sequence[OutgoingMessage] = ()

    def __len__(self) -> int:
        return sum(map(len, self.runs)) + len(self.messages)

    def __iter__(self) -> Iterator[OutgoingMessage]:
        for run in self.runs:
            yield from map(run.message, range(len(run)))
        yield from self.messages
