"""Messages for the Kafka sink: runs of them for one topic, and all that one input batch gave."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from models.records.batch import Headers, OffsetSpan


@dataclass(frozen=True)
class OutgoingMessage:
    """One message for the sink.

    Attributes:
      topic, key, value, headers: as they are sent.
      offset: of the record that it answers for; None: it answers for none.
    """

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    offset: int | None = None


@dataclass(frozen=True)
class OutgoingRun:
    """Messages for one topic, as columns with one entry for each message: an object for each would cost more than
    to send it.

    Attributes:
      topic: where they go.
      keys, values: as they are sent.
      headers: by place, of the messages that have some.
      offsets: of the records that they answer for.
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
    """All that one input batch gave, on whatever topics: it is acknowledged as a whole.

    Attributes:
      span: the offsets that are done when every message is acknowledged.
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
