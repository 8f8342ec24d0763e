"""Scores one batch of records: every record gives one message, a result or a dead letter."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from models.encoding.dead_letter import dead_letter
from models.encoding.result import NO_MODEL, Origin, ResultEncoder, Scoring
from models.errors import FieldValueError, ModelUnreachableError, ScoringError
from models.records.batch import OutgoingBatch, OutgoingMessage, RecordBatch
from models.records.schema import RecordSchema, Row
from models.serving.loading import LoadedModel
from models.serving.mapping import RecordOutputs
from models.serving.registry import Lease, ModelRegistry

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
      scored, errors, dead_letters: how many records were scored, could not be, could not be read.
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

    Raises nothing that a record or a model can cause: an undecodable record becomes a dead letter, and whatever keeps
    a record from being scored is told in its result.
    """
    decoded = settings.schema.decode(batch.values)
    messages: list[OutgoingMessage | None] = [None] * len(batch)
    for place, reason in decoded.errors.items():
        messages[place] = dead_letter(settings.dead_letter_topic, batch, place, reason)
    errors = 0
    for data_type, rows, places in _by_data_type(settings.schema, decoded.rows, decoded.indices):
        with registry.lease(data_type) as lease:
            for part in _score_rows(lease, data_type, rows, places):
                errors += len(part.places) if part.outputs is None else 0
                _place_results(messages, batch, part, settings)
    outgoing = OutgoingBatch(batch.span, [message for message in messages if message is not None])
    return ScoredBatch(outgoing, len(decoded.rows) - errors, errors, len(decoded.errors))


def _by_data_type(schema: RecordSchema, rows: list[Row], places: list[int]) -> list[tuple[str, list[Row], list[int]]]:
    data_types = schema.data_types(rows)
    kinds = list(dict.fromkeys(data_types))
    if len(kinds) <= 1:
        return [(kind, rows, places) for kind in kinds]
    groups = []
    for kind in kinds:
        chosen = [index for index, data_type in enumerate(data_types) if data_type == kind]
        groups.append((kind, [rows[index] for index in chosen], [places[index] for index in chosen]))
    return groups


def _score_rows(lease: Lease, data_type: str, rows: list[Row], places: list[int]) -> list[_Part]:
    model = lease.model
    if model is None:
        scoring = Scoring(None, _microseconds(), 0, len(rows), f"{NO_MODEL} for data type {data_type!r}")
        return [_Part(places, scoring, None)]
    clock = time.perf_counter()
    try:
        return [_score_together(lease, model, rows, places)]
    except ModelUnreachableError as error:
        return [_failed(lease, model, places, error, time.perf_counter() - clock)]
    except Exception as error:  # whatever an engine raises is told in the result
        if len(rows) == 1:
            return [_failed(lease, model, places, error, time.perf_counter() - clock)]
        _LOGGER.debug("a batch of %d records failed, scoring its halves: %s", len(rows), error)
    # In halves, down to single records: a bad record costs some twenty calls, not one for each of its neighbours.
    half = len(rows) // 2
    first = _score_rows(lease, data_type, rows[:half], places[:half])
    return first + _score_rows(lease, data_type, rows[half:], places[half:])


def _score_together(lease: Lease, model: LoadedModel, rows: list[Row], places: list[int]) -> _Part:
    start, clock = _microseconds(), time.perf_counter()
    outputs, answered = model.score(rows)
    seconds = time.perf_counter() - clock
    lease.count(len(rows), 0, seconds * 1000)
    return _Part(places, Scoring(model.identity(answered), start, round(seconds * 1e6), len(rows)), outputs)


def _failed(lease: Lease, model: LoadedModel, places: list[int], error: Exception, seconds: float) -> _Part:
    lease.count(len(places), len(places), seconds * 1000)
    duration = round(seconds * 1e6)
    known = isinstance(error, (ScoringError, FieldValueError))
    text = str(error) if known else f"{type(error).__name__}: {error}"
    scoring = Scoring(model.identity(None), _microseconds() - duration, duration, len(places), text)
    return _Part(places, scoring, None)


def _place_results(
    messages: list[OutgoingMessage | None], batch: RecordBatch, part: _Part, settings: ScoringSettings
) -> None:
    places, span = part.places, batch.span
    values = [batch.values[place] or b"" for place in places]
    offsets = [batch.offsets[place] for place in places]
    origin = Origin(span.topic, span.partition)
    results = settings.encoder.encode(part.scoring, origin, values, offsets, part.outputs)
    topic, keys, headers = settings.results_topic, batch.keys, batch.headers
    if settings.result_key == "record":
        for place, offset, result in zip(places, offsets, results, strict=True):
            messages[place] = OutgoingMessage(topic, keys[place], result, headers[place], offset)
        return
    prefix = f"{span.topic}-{span.partition}-"
    for place, offset, result in zip(places, offsets, results, strict=True):
        carried = (*headers[place], (RECORD_KEY_HEADER, keys[place]))
        messages[place] = OutgoingMessage(topic, f"{prefix}{offset}".encode(), result, carried, offset)


def _microseconds() -> int:
    return time.time_ns() // 1000
