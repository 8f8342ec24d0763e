"""Scores the columns of one batch with the models that are current."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from models.columns.outputs import RecordOutputs
from models.columns.scored import ModelCall, ScoredRecords
from models.errors import FieldValueError, MappingError, ScoringError
from models.records.codecs.base import DecodedRecords, RecordCodec
from models.records.record_type import DATA_TYPE_FIELD
from models.results.encoder import NO_MODEL
from models.serving.isolation import Isolation, Outcome
from models.serving.loading import LoadedModel
from models.serving.registry import Lease, ModelRegistry
from models.text import clean_text, error_text

Rows = npt.NDArray[np.int64]


def score_records(decoded: DecodedRecords, codec: RecordCodec, registry: ModelRegistry) -> list[ScoredRecords]:
    """Scores decoded records with the models that are current now: each row is in one of the answers.

    Raises nothing that a record or a model can cause: whatever keeps a record from being scored is its call's error.
    """
    scored: list[ScoredRecords] = []
    for data_type, rows in by_data_type(decoded.columns, codec):
        columns = decoded.columns if len(rows) == len(decoded) else decoded.columns.take(pa.array(rows))
        with registry.lease(data_type) as lease:
            if lease.model is None:
                reason = clean_text(f"{NO_MODEL} for data type {data_type!r}")
                scored.append(ScoredRecords(rows, ModelCall(None, _microseconds(), 0, len(rows), reason), None))
            else:
                scored.extend(_score_with(lease, lease.model, codec, columns, rows))
    return scored


def _score_with(
    lease: Lease, model: LoadedModel, codec: RecordCodec, columns: pa.RecordBatch, rows: Rows
) -> Iterator[ScoredRecords]:
    deadline = model.scorer.batch_deadline
    calls = Isolation(partial(_call, model, codec, columns), math.inf if deadline is None else deadline)
    return (_scored(lease, model, rows, outcome) for outcome in calls.score(len(rows)))


def by_data_type(columns: pa.RecordBatch, codec: RecordCodec) -> Iterator[tuple[str, Rows]]:
    """The rows of each data type: the field `dataType` where it holds a text, otherwise the record type's name."""
    rows = np.arange(columns.num_rows)
    if not columns.num_rows:
        return
    column = _data_types(columns)
    if column is None:
        yield codec.name, rows
        return
    named = pc.if_else(pc.equal(column.fill_null(""), ""), codec.name, column.fill_null(""))
    encoded = named.dictionary_encode()
    kinds = encoded.dictionary.to_pylist()
    if len(kinds) == 1:
        yield kinds[0], rows
        return
    numbers = encoded.indices.to_numpy()
    order = np.argsort(numbers, kind="stable")
    yield from zip(kinds, np.split(order, np.cumsum(np.bincount(numbers))[:-1]), strict=True)


def _data_types(columns: pa.RecordBatch) -> pa.StringArray | None:
    """The data type that each record names, null where it names none; None where no record can."""
    if DATA_TYPE_FIELD not in columns.schema.names:
        return None
    column = columns.column(columns.schema.get_field_index(DATA_TYPE_FIELD))
    if pa.types.is_union(column.type):
        return pa.array([value if isinstance(value, str) else None for value in column.to_pylist()], pa.string())
    return column if pa.types.is_string(column.type) else None


@dataclass(frozen=True)
class _Answer:
    """What a model answered, and when it was called, in microseconds since 1970-01-01 UTC."""

    outputs: RecordOutputs
    version: int | None
    start: int


def _call(model: LoadedModel, codec: RecordCodec, columns: pa.RecordBatch, indices: Sequence[int]) -> _Answer:
    start = _microseconds()
    chosen = columns if len(indices) == columns.num_rows else columns.take(pa.array(indices, pa.int64()))
    outputs, version = model.score(codec, chosen)
    return _Answer(outputs, version, start)


def _scored(lease: Lease, model: LoadedModel, rows: Rows, outcome: Outcome[_Answer]) -> ScoredRecords:
    answer, count, duration = outcome.answer, len(outcome.indices), round(outcome.seconds * 1e6)
    lease.count(count, count if answer is None else 0, outcome.seconds * 1000)
    chosen = rows if count == len(rows) else rows[list(outcome.indices)]
    if answer is not None:
        call = ModelCall(model.identity(answer.version), answer.start, duration, count)
        return ScoredRecords(chosen, call, answer.outputs)
    error = _reason(outcome.error)
    return ScoredRecords(
        chosen, ModelCall(model.identity(None), _microseconds() - duration, duration, count, error), None
    )


def _reason(error: Exception | None) -> str:
    if error is None or isinstance(error, (ScoringError, FieldValueError, MappingError)):
        return clean_text(str(error))
    return error_text(error)


def _microseconds() -> int:
    return time.time_ns() // 1000
