"""Assembles the messages of a batch from its scored columns: a pure step after the scoring.

Every record becomes one message: a result, or a dead letter if it could not be read.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from models.columns.scored import ScoredRecords
from models.observing.answered import AnsweredBatch, StageTimes
from models.observing.observer import NO_OBSERVER, Observer
from models.observing.tracing import within
from models.records.batch import Headers, RecordBatch
from models.records.codecs.base import DecodedRecords, RecordCodec
from models.records.outgoing import OutgoingBatch, OutgoingRun
from models.records.record_type import RecordType
from models.results.cloud_events import carried_headers, event_headers
from models.results.dead_letter import dead_letters
from models.results.encoder import Origin, ResultEncoder
from models.serving.registry import ModelRegistry
from models.serving.scoring import Shadows, score_records
from models.text import error_text

_LOGGER = logging.getLogger(__name__)

ResultKey = Literal["record", "coordinates"]
RECORD_KEY_HEADER = "record.key"


@dataclass(frozen=True)
class ScoringSettings:
    """Where results go and what they look like.

    Attributes:
      record_types: the record type of each topic.
      results_topic, dead_letter_topic: the topics for the records' messages.
      cloud_events: whether results carry the headers of CloudEvents (`models.results.cloud_events`).
      result_key: the key of results. "record" is the record's key; "coordinates" is TOPIC-PARTITION-OFFSET, with the
        record's key in the header `record.key`.
      outliers: whether results contain scores of outliers.
      shadow_topic: the topic for the results of shadows; None if only their statistics are reported.
    """

    record_types: Mapping[str, RecordType]
    results_topic: str
    dead_letter_topic: str
    result_key: ResultKey = "record"
    cloud_events: bool = False
    shadow_topic: str | None = None
    outliers: bool = False

    def for_shadows(self) -> ScoringSettings:
        """The settings for the results of shadows."""
        return self._for_shadows

    @cached_property
    def _for_shadows(self) -> ScoringSettings:
        return replace(self, results_topic=self.shadow_topic or "")

    def codec(self, topic: str) -> RecordCodec:
        """The codec that decodes the records of a topic."""
        return self.record_types[topic].codec

    def encoder(self, topic: str) -> ResultEncoder:
        """The encoder of the results of a topic's records."""
        return self._encoders[topic]

    @cached_property
    def _encoders(self) -> dict[str, ResultEncoder]:
        encoders = {
            topic: ResultEncoder(kind.codec.embedding, self.results_topic, self.outliers)
            for topic, kind in self.record_types.items()
        }
        for encoder in encoders.values():
            encoder.prepare()  # registers the schema of results here, where a failure is not attributed to a record
        return encoders


@dataclass(frozen=True)
class ScoredBatch:
    """The outcome of one batch.

    Attributes:
      outgoing: one message for each record.
      unencoded: why the results of records cannot be encoded, by their places in the batch.
    """

    outgoing: OutgoingBatch
    unencoded: Mapping[int, str]


def score_batch(
    batch: RecordBatch,
    registry: ModelRegistry,
    settings: ScoringSettings,
    shadows: Shadows | None = None,
    observer: Observer = NO_OBSERVER,
) -> ScoredBatch:
    """Decodes a batch, scores it with the current models, and assembles its messages.

    No record and no model can make it raise.

    Args:
      batch: the records.
      registry: the models.
      settings: where results go and what they look like.
      shadows: takes the records for shadows; None if shadows are not scored.
      observer: is told of the batch, unless it is empty.
    """
    codec = settings.codec(batch.span.topic)
    trace = observer.tracing.begin(batch)
    began = time.time_ns()
    decoded = codec.decode(batch.values, batch.headers)
    decoded_at = time.time_ns()
    with within(trace):
        scored = score_records(batch, decoded, codec, registry, shadows)
    scored_at = time.time_ns()
    assembled = assemble(batch, decoded, scored, settings, None if trace is None else trace.headers)
    if len(batch):
        times = StageTimes(began, decoded_at, scored_at, time.time_ns())
        answered = AnsweredBatch(batch, decoded, scored, assembled.unencoded, times)
        observer.answered(answered)
        if trace is not None:
            trace.end(answered)
    return assembled


def assemble(
    batch: RecordBatch,
    decoded: DecodedRecords,
    scored: Sequence[ScoredRecords],
    settings: ScoringSettings,
    headers: Mapping[int, Headers] | None = None,
) -> ScoredBatch:
    """Assembles the messages of a batch, in the order of its records within each topic.

    A record whose result cannot be encoded becomes a dead letter that names the failure. This is the last safety net,
    for unforeseen failures.

    Args:
      batch: the records as they arrived.
      decoded: the same records, decoded.
      scored: their answers.
      settings: where results go and what they look like.
      headers: the headers that results get from records, by place; None for those of the records themselves.
    """
    unencoded: dict[int, str] = {}
    encoder = settings.encoder(batch.span.topic)
    results = _in_order([_encode(batch, decoded, part, encoder, unencoded) for part in scored])
    reasons = {**decoded.errors, **unencoded}
    runs = []
    if len(results.values):
        runs.append(_result_run(batch, results, settings, batch.headers if headers is None else headers))
    if reasons:
        runs.append(dead_letters(settings.dead_letter_topic, batch, reasons))
    return ScoredBatch(OutgoingBatch(batch.span, runs), unencoded)


@dataclass(frozen=True)
class _Results:
    """Results, and the places of their records in the batch."""

    places: npt.NDArray[np.int64]
    values: pa.BinaryArray


def _in_order(parts: Sequence[_Results]) -> _Results:
    """All results, in the order of their records."""
    if len(parts) == 1:
        return parts[0]
    places = np.concatenate([np.zeros(0, np.int64), *(part.places for part in parts)])
    values = pa.concat_arrays([pa.array([], pa.binary()), *(part.values for part in parts)])
    order = np.argsort(places, kind="stable")
    return _Results(places[order], values.take(pa.array(order)))


def _encode(
    batch: RecordBatch,
    decoded: DecodedRecords,
    part: ScoredRecords,
    encoder: ResultEncoder,
    reasons: dict[int, str],
) -> _Results:
    """Encodes the results of records that were scored together; adds the reasons for failures to `reasons`."""
    origin = Origin(batch.span.topic, batch.span.partition)
    places = decoded.places[part.rows]
    every = len(part.rows) == len(decoded)
    embedded = decoded.embedded if every else decoded.embedded.take(pa.array(part.rows))
    offsets = batch.offsets[places]
    try:
        return _Results(places, encoder.encode(part.call, origin, embedded, offsets, part.outputs, part.outliers))
    except Exception as error:
        _LOGGER.debug("%d results cannot be encoded together: %s", len(embedded), error)
    good, values = [], [pa.array([], pa.binary())]
    for index, place in enumerate(places.tolist()):
        outputs = None if part.outputs is None else part.outputs.only(index)
        try:
            one = slice(index, index + 1)
            outliers = None if part.outliers is None else part.outliers[one]
            values.append(encoder.encode(part.call, origin, embedded[one], offsets[one], outputs, outliers))
            good.append(place)
        except Exception as error:
            reasons[place] = f"the result cannot be encoded: {error_text(error)}"
    return _Results(np.array(good, np.int64), pa.concat_arrays(values))


def _result_run(
    batch: RecordBatch, results: _Results, settings: ScoringSettings, given: Mapping[int, Headers]
) -> OutgoingRun:
    places = results.places.tolist()
    keys = batch.keys.to_pylist()
    if len(places) < len(batch):
        keys = [keys[place] for place in places]
    offsets = batch.offsets[results.places].tolist()
    values = results.values.to_pylist()
    headers: dict[int, Headers] = {}
    if given:
        carried = {
            at: carried_headers(given[place], settings.result_key == "record")
            for at, place in enumerate(places)
            if place in given
        }
        headers = {at: one for at, one in carried.items() if one}
    if settings.cloud_events:
        events = event_headers(batch.span, offsets, settings.codec(batch.span.topic).embedding)
        headers = {at: (*headers.get(at, ()), *one) for at, one in enumerate(events)}
    if settings.result_key == "record":
        return OutgoingRun(settings.results_topic, keys, values, offsets, headers)
    headers = {at: (*headers.get(at, ()), (RECORD_KEY_HEADER, key)) for at, key in enumerate(keys)}
    prefix = f"{batch.span.topic}-{batch.span.partition}-"
    coordinates = [f"{prefix}{offset}".encode() for offset in offsets]
    return OutgoingRun(settings.results_topic, coordinates, values, offsets, headers)
