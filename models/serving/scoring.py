"""Scores the columns of one batch with the current models."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from models.columns.scored import RouteIdentity, ScoredRecords
from models.errors import ConditionError, ModelNotLoadedError
from models.model_topic.guardrails import Guardrails
from models.model_topic.route import GENERATIONS_KEPT
from models.records.batch import RecordBatch
from models.records.codecs.base import DecodedRecords, RecordCodec
from models.records.record_type import DATA_TYPE_FIELD
from models.results.encoder import NO_MODEL
from models.routing.assignment import assign
from models.routing.plan import PlannedArm, PlannedGeneration
from models.routing.split import record_keys
from models.serving.calling import no_answer, score_with
from models.serving.graphs.scoring import score_graph
from models.serving.leases import Coordinates, LeasedArm, LeasedPart
from models.serving.registry import ModelRegistry

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Candidate:
    """The answers of a candidate with guardrails.

    Attributes:
      key: the data type, the offset of the route, and the name of the arm.
      answers: its answers for the records of one batch that it was given.
      limits: the limits of the candidate.
      coordinates: returns TOPIC-PARTITION-OFFSET for rows; None if its answers need no labels.
    """

    key: tuple[str, int, str]
    answers: tuple[ScoredRecords, ...]
    limits: Guardrails
    coordinates: Callable[[Rows], list[bytes]] | None = None


@dataclass(frozen=True)
class ShadowWork:
    """Records for a shadow to score, or for the serving arm to score for a comparison with a candidate.

    Attributes:
      leased: the arm and its models, which the receiver of the work must hold.
      route: the arm as results name it.
      data_type: the data type of the records.
      batch, decoded: the records as they arrived, and decoded.
      rows: the records to score, by their rows in the decoded columns.
      candidate: the answers to compare with, in which case no results are sent; None for a shadow.
    """

    leased: LeasedArm
    route: RouteIdentity
    data_type: str
    batch: RecordBatch
    decoded: DecodedRecords
    rows: Rows
    candidate: Candidate | None = None


class Shadows(Protocol):
    """Scores shadows, off the path of the live answers."""

    def take(self, work: ShadowWork) -> None:
        """Takes records to score later, and returns at once."""

    def note(self, candidate: Candidate) -> None:
        """Counts the answers of a candidate that cannot be compared."""


def score_records(
    batch: RecordBatch,
    decoded: DecodedRecords,
    codec: RecordCodec,
    registry: ModelRegistry,
    shadows: Shadows | None = None,
) -> list[ScoredRecords]:
    """Scores decoded records with the current models; each row is in one of the answers.

    No record and no model can make it raise: the reason why a record cannot be scored becomes the error of its call.

    Args:
      batch: the records as they arrived.
      decoded: the same records, decoded.
      codec: the codec that decoded them.
      registry: the models.
      shadows: takes the records for shadows; None if shadows are not scored.
    """
    scored: list[ScoredRecords] = []
    for data_type, rows in by_data_type(decoded.columns, codec):
        places = decoded.places[rows]
        span = batch.span
        coordinates = Coordinates(span.topic, span.partition, batch.offsets[places], batch.timestamps[places])
        with registry.lease(data_type, coordinates) as lease:
            for part in lease.parts:
                if part.generation is None:
                    scored.append(
                        replace(no_answer(rows[part.rows], _no_model(data_type, part), "no_model"), data_type=data_type)
                    )
                else:
                    records = _Records(batch, decoded, codec, rows[part.rows])
                    answers = _score_part(registry, data_type, part, part.generation, records, shadows)
                    scored.extend(replace(one, data_type=data_type) for one in answers)
    return scored


@dataclass(frozen=True)
class _Records:
    """The records to which one generation of a route applies, by their rows in the decoded columns."""

    batch: RecordBatch
    decoded: DecodedRecords
    codec: RecordCodec
    rows: Rows

    def keys(self) -> list[bytes]:
        """The bytes that are hashed for each record if records are split by their key."""
        places = self.decoded.places[self.rows]
        span, offsets = self.batch.span, self.batch.offsets[places]
        return record_keys(
            self.batch.keys.take(pa.array(places)),
            lambda index: f"{span.topic}-{span.partition}-{offsets[index]}".encode(),
        )


def _no_model(data_type: str, part: LeasedPart) -> str:
    """The reason why no model answers records of a data type."""
    reason = f"{NO_MODEL} for data type {data_type!r}"
    if not part.forgotten:
        return reason
    return f"{reason}: the record is before the fence of the oldest state that its route keeps, of {GENERATIONS_KEPT}"


def _score_part(
    registry: ModelRegistry,
    data_type: str,
    part: LeasedPart,
    generation: PlannedGeneration,
    records: _Records,
    shadows: Shadows | None,
) -> Iterator[ScoredRecords]:
    try:
        assignment = assign(generation, records.decoded.only(records.rows), records.keys)
    except ConditionError as error:
        yield no_answer(records.rows, str(error), error.kind)
        return
    for assigned in assignment.answering:
        rows, leased = records.rows[assigned.rows], part.arms[assigned.segment][assigned.place]
        route = route_identity(generation, leased.arm)
        coordinates = partial(coordinates_of, records.batch, records.decoded, rows)
        answers = score_arm(leased, registry, records.codec, records.decoded.only(rows), rows, route, coordinates)
        if shadows is None or route is None or leased.arm.guardrails is None:
            yield from answers
        else:
            limits = leased.arm.guardrails
            where = partial(coordinates_of, records.batch, records.decoded) if limits.needs_labels else None
            candidate = Candidate((data_type, route.offset, route.arm), tuple(answers), limits, where)
            yield from candidate.answers
            _watch(candidate, part.arms[assigned.segment], generation, records, rows, shadows)
    if shadows is not None:
        for assigned in assignment.shadows:
            rows, leased = records.rows[assigned.rows], part.arms[assigned.segment][assigned.place]
            route = route_identity(generation, leased.arm)
            if leased.is_loaded and route is not None:
                shadows.take(ShadowWork(leased, route, data_type, records.batch, records.decoded, rows))


def _watch(
    candidate: Candidate,
    arms: Sequence[LeasedArm],
    generation: PlannedGeneration,
    records: _Records,
    rows: Rows,
    shadows: Shadows,
) -> None:
    """Has the serving arm also score the records of a candidate, so that the answers can be compared."""
    serving = next((one for one in arms if one.arm.role == "serve" and one.arm.answers), None)
    route = None if serving is None else route_identity(generation, serving.arm)
    if serving is None or route is None or not serving.is_loaded:
        shadows.note(candidate)
    else:
        shadows.take(ShadowWork(serving, route, candidate.key[0], records.batch, records.decoded, rows, candidate))


def score_arm(
    leased: LeasedArm,
    registry: ModelRegistry,
    codec: RecordCodec,
    columns: pa.RecordBatch,
    rows: Rows,
    route: RouteIdentity | None,
    coordinates: Callable[[], list[bytes]],
) -> Iterator[ScoredRecords]:
    """Scores records with the model or graph of an arm, whose models must stay open until the last answer is taken.

    Args:
      leased: the arm.
      registry: counts the calls.
      codec: the codec that decoded the records.
      columns: the records.
      rows: their rows in the decoded columns.
      route: the arm as results name it.
      coordinates: returns TOPIC-PARTITION-OFFSET for each record, for the steps of a graph that choose by them.
    """
    if leased.arm.graph is not None and route is not None:
        yield from score_graph(leased.arm.graph, leased, registry, codec, columns, rows, route, coordinates)
    elif leased.pooled is None or leased.model is None:
        yield no_answer(rows, leased.error or NO_MODEL, ModelNotLoadedError.kind, route)
    else:
        yield from score_with(leased.model, partial(registry.count, leased.pooled), codec, columns, rows, route)


def coordinates_of(batch: RecordBatch, decoded: DecodedRecords, rows: Rows) -> list[bytes]:
    """TOPIC-PARTITION-OFFSET of records given by their rows in the decoded columns."""
    span, offsets = batch.span, batch.offsets[decoded.places[rows]].tolist()
    return [f"{span.topic}-{span.partition}-{offset}".encode() for offset in offsets]


def route_identity(generation: PlannedGeneration, arm: PlannedArm) -> RouteIdentity | None:
    """The arm as results name it; None without a route."""
    return None if generation.offset is None else RouteIdentity(generation.offset, arm.name, arm.role)


def by_data_type(columns: pa.RecordBatch, codec: RecordCodec) -> Iterator[tuple[str, Rows]]:
    """The rows of each data type, which is the field `dataType` if it has a value, otherwise the record type's name."""
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
    """The data type that each record names, or null if it names none; None if the records have no such field."""
    if DATA_TYPE_FIELD not in columns.schema.names:
        return None
    column = columns.column(columns.schema.get_field_index(DATA_TYPE_FIELD))
    if pa.types.is_union(column.type):
        return pa.array([value if isinstance(value, str) else None for value in column.to_pylist()], pa.string())
    return column if pa.types.is_string(column.type) else None
