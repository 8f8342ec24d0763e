"""Calls one model with the columns of records."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from models.columns.mapping import InputMapping
from models.columns.outliers import Scores, UsualRanges
from models.columns.outputs import RecordOutputs
from models.columns.scored import ModelCall, RouteIdentity, ScoredRecords
from models.errors import FieldValueError, MappingError, ScoringError, ServingError
from models.loading.loader import LoadedModel
from models.records.codecs.base import RecordCodec
from models.serving.isolation import Isolation, Outcome
from models.text import clean_text, error_text

Rows = npt.NDArray[np.int64]
Count = Callable[[int, int, float], None]
Score = Callable[[pa.RecordBatch], tuple[RecordOutputs, "int | None"]]


def no_answer(rows: Rows, reason: str, kind: str, route: RouteIdentity | None = None) -> ScoredRecords:
    """The records without a call of a model, the reason, and its kind for metrics."""
    call = ModelCall(None, microseconds(), 0, len(rows), clean_text(reason), route, error_kind=kind)
    return ScoredRecords(rows, call, None)


def score_with(
    model: LoadedModel,
    count: Count,
    codec: RecordCodec,
    columns: pa.RecordBatch,
    rows: Rows,
    route: RouteIdentity | None = None,
) -> Iterator[ScoredRecords]:
    """Scores records with one model.

    Args:
      model: the model; it must stay open until the last answer was taken.
      count: called with the number of records and errors and the milliseconds of each call.
      codec: the codec that decoded the records.
      columns: the records.
      rows: their rows in the decoded columns.
      route: the arm that answers.
    """
    yield from score_by(model, partial(model.score, codec), count, columns, rows, route, partial(model.planned, codec))


def score_by(
    model: LoadedModel,
    score: Score,
    count: Count,
    columns: pa.RecordBatch,
    rows: Rows,
    route: RouteIdentity | None = None,
    planned: Callable[[], InputMapping | None] = lambda: None,
) -> Iterator[ScoredRecords]:
    """Like `score_with`, but `score` calls the model with the columns of records.

    After a call, `planned` returns how the columns became the inputs; by default that is not known.
    """
    deadline = model.scorer.batch_deadline
    calls = Isolation(partial(_call, score, model.usual, columns), math.inf if deadline is None else deadline)
    for outcome in calls.score(len(rows), model.largest_batch):
        yield _scored(count, model, rows, outcome, route, planned())


@dataclass(frozen=True)
class _Answer:
    """The answer of a model, the time of the call in microseconds since 1970-01-01 UTC, and scores of outliers."""

    outputs: RecordOutputs
    version: int | None
    start: int
    outliers: Scores | None


def _call(score: Score, usual: UsualRanges | None, columns: pa.RecordBatch, indices: Sequence[int]) -> _Answer:
    start = microseconds()
    if isinstance(indices, range):  # which is cheaper, and shares the memory
        chosen = columns.slice(indices.start, len(indices))
    else:
        chosen = columns.take(pa.array(indices, pa.int64()))
    outputs, version = score(chosen)
    return _Answer(outputs, version, start, None if usual is None else usual.scores(chosen))


def _scored(
    count: Count,
    model: LoadedModel,
    rows: Rows,
    outcome: Outcome[_Answer],
    route: RouteIdentity | None,
    mapping: InputMapping | None,
) -> ScoredRecords:
    answer, size, duration = outcome.answer, len(outcome.indices), round(outcome.seconds * 1e6)
    count(size, size if answer is None else 0, outcome.seconds * 1000)
    chosen = rows if size == len(rows) else rows[list(outcome.indices)]
    if answer is not None:
        call = ModelCall(model.identity(answer.version), answer.start, duration, size, route=route)
        return ScoredRecords(chosen, call, answer.outputs, mapping=mapping, outliers=answer.outliers)
    error, kind = reason_of(outcome.error), kind_of(outcome.error)
    call = ModelCall(model.identity(None), microseconds() - duration, duration, size, error, route, error_kind=kind)
    return ScoredRecords(chosen, call, None, mapping=mapping)


def reason_of(error: Exception | None) -> str:
    """The reason why a call failed, as results state it."""
    if error is None or isinstance(error, (ScoringError, FieldValueError, MappingError)):
        return clean_text(str(error))
    return error_text(error)


def kind_of(error: Exception | None) -> str:
    """The kind of an error for metrics; errors that an engine raises by itself are those of a scoring."""
    return error.kind if isinstance(error, ServingError) else ScoringError.kind


def microseconds() -> int:
    """Microseconds since 1970-01-01 UTC."""
    return time.time_ns() // 1000
