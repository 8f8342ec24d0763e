"""Scores one batch of records: every record gives one message, a result or a dead letter."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Literal

from models.encoding.dead_letter import dead_letter
from models.encoding.result import NO_MODEL, Origin, ResultEncoder, Scoring
from models.errors import FieldValueError, ScoringError
from models.records.batch import OutgoingBatch, OutgoingMessage, RecordBatch
from models.records.schema import RecordSchema, Row
from models.serving.isolation import Isolation, Outcome
from models.serving.loading import LoadedModel
from models.serving.mapping import RecordOutputs
from models.serving.registry import Lease, ModelRegistry
from models.text import clean_text, error_text

_LOGGER = logging.getLogger(__name__)

ResultKey = Literal["record", "coordinates"]
RECORD_KEY_HEADER = "record.key"


@dataclass(frozen=True)
class ScoringSettings:
    """Where results go and what they look like.

    Attributes:
      schema: of the records.
      results_topic, dead_letter_topic: where each record's message goes.
      result_key: record: the record's key; coordinates: TOPIC-PARTITION-OFFSET, and the record's key in the header
        `record.key`.
    """

    schema: RecordSchema
    results_topic: str
    dead_letter_topic: str
    result_key: ResultKey = "record"

    @cached_property
    def encoder(self) -> ResultEncoder:
        """Encodes the results."""
        return ResultEncoder(self.schema)


@dataclass(frozen=True)
class ScoredBatch:
    """What came of one batch.

    Attributes:
      outgoing: one message a record.
      scored, errors, dead_letters: how many records were scored, could not be scored, have no result at all.
    """

    outgoing: OutgoingBatch
    scored: int
    errors: int
    dead_letters: int


@dataclass(frozen=True)
class _Part:
    """Records that were scored together: their places in the batch, and what came of them."""

    places: list[int]
    scoring: Scoring
    outputs: RecordOutputs | None


def score_batch(batch: RecordBatch, registry: ModelRegistry, settings: ScoringSettings) -> ScoredBatch:
    """Scores a batch with the models that are current now.

    Raises nothing that a record or a model can cause: a record that cannot be decoded, or whose result cannot be
    encoded, becomes a dead letter, and its result says whatever keeps a record from being scored.
    """
    decoded = settings.schema.decode(batch.values)
    messages: list[OutgoingMessage | None] = [None] * len(batch)
    for place, reason in decoded.errors.items():
        messages[place] = dead_letter(settings.dead_letter_topic, batch, place, reason)
    scored = errors = 0
    for data_type, rows, places in _by_data_type(settings.schema, decoded.rows, decoded.indices):
        with registry.lease(data_type) as lease:
            for part in _score_rows(lease, data_type, rows, places):
                written = _place_results(messages, batch, part, settings)
                scored += 0 if part.outputs is None else written
                errors += written if part.outputs is None else 0
    outgoing = OutgoingBatch(batch.span, [message for message in messages if message is not None])
    return ScoredBatch(outgoing, scored, errors, len(batch) - scored - errors)


def _by_data_type(schema: RecordSchema, rows: list[Row], places: list[int]) -> list[tuple[str, list[Row], list[int]]]:
    groups: dict[str, tuple[list[Row], list[int]]] = {}
    for data_type, row, place in zip(schema.data_types(rows), rows, places, strict=True):
        group = groups.setdefault(data_type, ([], []))
        group[0].append(row)
        group[1].append(place)
    return [(data_type, *group) for data_type, group in groups.items()]


def _score_rows(lease: Lease, data_type: str, rows: list[Row], places: list[int]) -> list[_Part]:
    model = lease.model
    if model is None:
        text = clean_text(f"{NO_MODEL} for data type {data_type!r}")
        return [_Part(places, Scoring(None, _microseconds(), 0, len(rows), text), None)]
    deadline = model.scorer.batch_deadline
    calls = Isolation(partial(_call, model, rows), math.inf if deadline is None else deadline)
    return [_part(lease, model, places, outcome) for outcome in calls.score(len(rows))]


@dataclass(frozen=True)
class _Answer:
    """What a model answered, and when it was asked, in microseconds since 1970-01-01 UTC."""

    outputs: RecordOutputs
    version: int | None
    start: int


def _call(model: LoadedModel, rows: list[Row], indices: Sequence[int]) -> _Answer:
    start = _microseconds()
    chosen = rows if len(indices) == len(rows) else [rows[index] for index in indices]
    outputs, version = model.score(chosen)
    return _Answer(outputs, version, start)


def _part(lease: Lease, model: LoadedModel, places: list[int], outcome: Outcome[_Answer]) -> _Part:
    answer, count, duration = outcome.answer, len(outcome.indices), round(outcome.seconds * 1e6)
    lease.count(count, count if answer is None else 0, outcome.seconds * 1000)
    chosen = [places[index] for index in outcome.indices]
    if answer is not None:
        scoring = Scoring(model.identity(answer.version), answer.start, duration, count)
        return _Part(chosen, scoring, answer.outputs)
    text = _reason(outcome.error)
    return _Part(chosen, Scoring(model.identity(None), _microseconds() - duration, duration, count, text), None)


def _reason(error: Exception | None) -> str:
    if error is None or isinstance(error, (ScoringError, FieldValueError)):
        return clean_text(str(error))
    return error_text(error)


def _place_results(
    messages: list[OutgoingMessage | None], batch: RecordBatch, part: _Part, settings: ScoringSettings
) -> int:
    """Puts the results of a part in their places; gives the number of those that could be encoded."""
    written = 0
    for place, result in zip(part.places, _encode(batch, part, settings), strict=True):
        if isinstance(result, bytes):
            messages[place] = _message(batch, place, result, settings)
            written += 1
        else:
            messages[place] = dead_letter(settings.dead_letter_topic, batch, place, result)
    return written


def _encode(batch: RecordBatch, part: _Part, settings: ScoringSettings) -> Sequence[bytes | str]:
    """The result of each record of a part, or the reason why it has none."""
    origin = Origin(batch.span.topic, batch.span.partition)
    values = [batch.values[place] or b"" for place in part.places]
    offsets = [batch.offsets[place] for place in part.places]
    try:
        return settings.encoder.encode(part.scoring, origin, values, offsets, part.outputs)
    except Exception as error:  # the last safety net: it must not be one record that ends the stream
        _LOGGER.debug("the results of %d records cannot be encoded together: %s", len(values), error)
    return [
        _encode_one(settings.encoder, part, origin, index, value, offset)
        for index, (value, offset) in enumerate(zip(values, offsets, strict=True))
    ]


def _encode_one(
    encoder: ResultEncoder, part: _Part, origin: Origin, index: int, value: bytes, offset: int
) -> bytes | str:
    try:
        outputs = None if part.outputs is None else part.outputs.only(index)
        return encoder.encode(part.scoring, origin, [value], [offset], outputs)[0]
    except Exception as error:  # as above
        return f"the result cannot be encoded: {error_text(error)}"


def _message(batch: RecordBatch, place: int, result: bytes, settings: ScoringSettings) -> OutgoingMessage:
    key, headers, offset = batch.keys[place], batch.headers[place], batch.offsets[place]
    if settings.result_key == "coordinates":
        headers = (*headers, (RECORD_KEY_HEADER, key))
        key = f"{batch.span.topic}-{batch.span.partition}-{offset}".encode()
    return OutgoingMessage(settings.results_topic, key, result, headers, offset)


def _microseconds() -> int:
    return time.time_ns() // 1000
