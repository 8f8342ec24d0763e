"""A batch that was answered: what the records were, which models answered what, and how long each stage took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from models.columns.scored import ScoredRecords
from models.records.batch import RecordBatch
from models.records.codecs.base import DecodedRecords


@dataclass(frozen=True)
class StageTimes:
    """When each stage of a batch began, in nanoseconds since 1970-01-01 UTC; each ends where the next one begins.

    Attributes:
      decode, score, encode: when decoding, scoring and assembling the messages began.
      end: when the messages were assembled.
    """

    decode: int
    score: int
    encode: int
    end: int


@dataclass(frozen=True)
class AnsweredBatch:
    """A batch with its answers. Observers may keep it; its columns are never changed.

    Attributes:
      batch: the records as they arrived.
      decoded: the records that could be decoded, as columns.
      scored: the answers; each row of the decoded columns is in one of them.
      unencoded: why records have a dead letter although they were decoded, by their place in the batch.
      times: when each stage began.
      live: whether these are the live answers; otherwise they are those of a shadow.
    """

    batch: RecordBatch
    decoded: DecodedRecords
    scored: Sequence[ScoredRecords]
    unencoded: Mapping[int, str]
    times: StageTimes
    live: bool = True
