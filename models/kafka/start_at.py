"""Where the pipeline starts to read a topic: the parsed value of --start, without a Kafka client."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Literal

from models.errors import OptionsError

_LONGEST_MILLISECONDS = 18  # any number of this many digits fits in 64 bits


@dataclass(frozen=True)
class StartAt:
    """The position at which reading starts when the runner restores none from a checkpoint.

    Attributes:
      kind: earliest, latest, timestamp, or committed: the group's committed offset, or earliest if it has none.
      timestamp: milliseconds since 1970-01-01 UTC, for kind timestamp: the first record at or after it.
    """

    kind: Literal["earliest", "latest", "committed", "timestamp"]
    timestamp: int = 0

    @classmethod
    def parse(cls, text: str) -> StartAt:
        """Parses the value of --start: a kind, or a moment in ISO 8601 or in milliseconds since 1970-01-01 UTC.

        A moment without a time zone is in UTC.

        Raises:
          OptionsError: when `text` is none of these.

        >>> StartAt.parse("latest")
        StartAt(kind='latest', timestamp=0)
        >>> StartAt.parse("1970-01-01T01:00:00+01:00")
        StartAt(kind='timestamp', timestamp=0)
        >>> StartAt.parse("1700000000000")
        StartAt(kind='timestamp', timestamp=1700000000000)
        """
        if text in ("earliest", "latest", "committed"):
            return cls(text)  # type: ignore[arg-type]
        if text.isascii() and text.isdigit() and len(text) <= _LONGEST_MILLISECONDS:
            return cls("timestamp", int(text))
        try:
            moment = datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
        except ValueError as error:
            raise OptionsError(
                f"--start {text!r} is not one of earliest, latest, committed, an ISO 8601 moment, or milliseconds"
            ) from error
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=datetime.timezone.utc)
        # In Kafka, negative timestamps have special meanings, such as -1 for the end of the partition.
        return cls("timestamp", max(0, round(moment.timestamp() * 1000)))
