"""Runs the steps of a graph over the records of one batch.

Each record takes its own path: if a step fails for a record, the following steps continue without that record, and
other records are not affected.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models.columns.condition import parse_condition
from models.columns.field_values import values_of
from models.columns.outputs import RecordOutputs
from models.columns.scored import ModelCall, ScoredRecords, StepCall
from models.errors import ConditionError, FieldValueError, MappingError, ScoringError
from models.graphs.answers import (
    Answer,
    Chosen,
    Rows,
    alike,
    answered_by_all,
    choose,
    choose_each,
    with_outputs,
    with_steps,
)
from models.graphs.bandits import Choice
from models.graphs.bandits import choose as choose_model
from models.graphs.combining import combine, vote_of_outputs
from models.graphs.deciding import decide
from models.graphs.transforms import transform
from models.model_topic.graph import Graph
from models.model_topic.model_use import ModelUse
from models.model_topic.steps import (
    BanditStep,
    CombineStep,
    DecideStep,
    ModelStep,
    RaceStep,
    Step,
    SwitchStep,
    TransformStep,
)
from models.records.codecs.base import RecordCodec
from models.results.encoder import NO_MODEL
from models.routing.split import hashes_of
from models.serving.calling import Score, microseconds, no_answer, reason_of, score_by
from models.serving.isolation import Isolation
from models.serving.leases import LeasedArm
from models.serving.loading import LoadedModel
from models.serving.races import RACECOURSE, Arrival, Entrant
from models.serving.registry import ModelRegistry
from models.tensors import Array

Parts = list[ScoredRecords]


@dataclass(frozen=True)
class _Fields:
    """Columns for `plan_inputs`."""

    name: str
    fields: pa.Schema


class GraphRun:
    """One run of a graph.

    Args:
      graph: the graph.
      leased: its models.
      registry: counts the calls, and knows the rewards by which bandits choose.
      codec: the codec that decoded the records.
      columns: the records; their rows are numbered from 0 here.
      coordinates: returns TOPIC-PARTITION-OFFSET for each record.
    """

    def __init__(
        self,
        graph: Graph,
        leased: LeasedArm,
        registry: ModelRegistry,
        codec: RecordCodec,
        columns: pa.RecordBatch,
        coordinates: Callable[[], Sequence[bytes]],
    ) -> None:
        self.answers: dict[str, Answer] = {}
        self._graph = graph
        self._leased = leased
        self._registry = registry
        self._codec = codec
        self._columns = columns
        self._coordinates = coordinates
        self._rows: Rows = np.arange(columns.num_rows)

    def run(self, name: str) -> None:
        """Runs a step, whose inputs must have run already; a failure becomes the error of its records."""
        try:
            parts = self._run(self._graph.by_name[name])
        except Exception as error:  # a step must not end the others
            parts = [no_answer(self._rows, reason_of(error))]
        self.answers[name] = Answer(tuple(part for part in parts if len(part.rows)))

    def _run(self, step: Step) -> Parts:
        if isinstance(step, ModelStep):
            return self._call(step.use, self._rows)
        if isinstance(step, SwitchStep):
            return self._switch(step)
        rows = answered_by_all(self._rows, self.answers, step.references)
        if isinstance(step, RaceStep):
            return (self._consensus(step, rows) if step.consensus else self._race(step, rows)) if len(rows) else []
        if isinstance(step, BanditStep):
            return self._bandit(step, rows)
        groups = alike(rows, self.answers, step.references)
        return [part for group in groups for part in _compute(group, partial(self._outputs, step))]

    def _outputs(self, step: Step, rows: Rows) -> RecordOutputs:
        """The outputs of a step that computes them from the outputs of other steps."""
        if isinstance(step, CombineStep):
            return combine(step, choose_each(step.of, self.answers, rows))
        if isinstance(step, DecideStep):
            return self._decide(step, rows)
        if isinstance(step, TransformStep):
            return self._transform(step, rows)
        raise ScoringError(f"a {type(step).__name__} cannot be run")

    # --- Models.

    def _call(self, use: ModelUse, rows: Rows) -> Parts:
        """Calls a model with those records that have its inputs."""
        rows = answered_by_all(rows, self.answers, use.references)
        groups = alike(rows, self.answers, use.references)
        return [part for group in groups for part in self._call_group(use, group)]

    def _call_group(self, use: ModelUse, rows: Rows) -> Parts:
        leased = self._leased.models[use.key]
        if leased.pooled is None or leased.model is None:
            return [no_answer(rows, leased.error or NO_MODEL)]
        try:
            columns, score = self._inputs(leased.model, use, rows)
        except (MappingError, ScoringError) as error:
            return [no_answer(rows, str(error))]
        count = partial(self._registry.count, leased.pooled)
        return list(score_by(leased.model, score, count, columns, rows))

    def _inputs(self, model: LoadedModel, use: ModelUse, rows: Rows) -> tuple[pa.RecordBatch, Score]:
        """The columns for the model, and the function that scores them."""
        if not use.inputs:
            return self._only(rows), partial(model.score, self._codec)
        references = dict.fromkeys(one for sources in use.inputs.values() for one in sources if "." in one)
        columns = with_outputs(self._only(rows), choose_each(list(references), self.answers, rows))
        mapping = model.plan(use.inputs, _Fields(self._codec.name, columns.schema))
        return columns, partial(model.score_mapped, mapping)

    def _only(self, rows: Rows) -> pa.RecordBatch:
        return self._columns if len(rows) == len(self._rows) else self._columns.take(pa.array(rows))

    # --- Steps that compute.

    def _transform(self, step: TransformStep, rows: Rows) -> RecordOutputs:
        columns = with_outputs(self._only(rows), choose_each(step.of, self.answers, rows))
        return transform(step.entry_point, columns)

    def _decide(self, step: DecideStep, rows: Rows) -> RecordOutputs:
        against = [
            choose(one, self.answers, rows) if "." in one else field_values(self._only(rows), one)
            for one in step.against
        ]
        return decide(step, choose_each(step.of, self.answers, rows), against)

    # --- Switches.

    def _switch(self, step: SwitchStep) -> Parts:
        steps = sorted(step.condition_names & self._graph.by_name.keys())
        left = answered_by_all(self._rows, self.answers, steps)
        parts: Parts = []
        for case in step.cases:
            if not len(left):
                break
            chosen = left
            if case.condition is not None:
                try:
                    chosen = self._meeting(case.condition, steps, left)
                except ConditionError as error:
                    return [*parts, no_answer(left, str(error))]
                left = np.setdiff1d(left, chosen, assume_unique=True)
            parts += self._case(case.target, chosen)
        return parts

    def _meeting(self, condition: str, steps: Sequence[str], rows: Rows) -> Rows:
        """The records that meet a condition on fields and on outputs of steps."""
        found = [np.zeros(0, np.int64)]
        for group in alike(rows, self.answers, steps):
            columns = with_steps(self._only(group), self.answers, steps, group)
            found.append(group[parse_condition(condition).holds(columns)])
        return np.sort(np.concatenate(found))

    def _case(self, target: ModelUse | str, rows: Rows) -> Parts:
        if isinstance(target, ModelUse):
            return self._call(target, rows)
        groups = alike(answered_by_all(rows, self.answers, [target]), self.answers, [target])
        return [
            ScoredRecords(group, ModelCall(None, microseconds(), 0, len(group)), self.answers[target].of(group))
            for group in groups
        ]

    # --- Bandits.

    def _bandit(self, step: BanditStep, rows: Rows) -> Parts:
        coordinates = self._coordinates()
        choices = [
            Choice(self._graph.name, step.name, use.model, self._leased.models[use.key].version_number)
            for use in step.choices
        ]
        tallies = [self._registry.rewards.of(choice) for choice in choices]
        chosen = choose_model(step, choices, tallies, hashes_of([coordinates[row] for row in rows.tolist()]))
        return [part for place, use in enumerate(step.choices) for part in self._call(use, rows[chosen == place])]

    # --- Races.

    def _arrivals(self, step: RaceStep, rows: Rows, is_over: Callable[[Sequence[Arrival[Answer]]], bool]) -> _Finish:
        start = microseconds()
        arrived = RACECOURSE.race([self._entrant(use, rows) for use in step.entrants], step.deadline, is_over)
        return _Finish(step, start, microseconds() - start, arrived)

    def _entrant(self, use: ModelUse, rows: Rows) -> Entrant[Answer]:
        pooled = self._leased.models[use.key].pooled_models()

        def hold() -> None:
            for one in pooled:
                self._registry.hold(one)

        key = tuple(one.version.identity for one in pooled)
        return Entrant(key, partial(self._answer, use, rows), hold, partial(self._registry.give_back, pooled))

    def _answer(self, use: ModelUse, rows: Rows) -> Answer:
        try:
            return Answer(tuple(self._call(use, rows)))
        except Exception as error:
            return Answer((no_answer(rows, reason_of(error)),))

    def _race(self, step: RaceStep, rows: Rows) -> Parts:
        """For each record, the outputs of the first model that answers."""

        def missing(arrived: Sequence[Arrival[Answer]]) -> Rows:
            answered = np.concatenate([np.zeros(0, np.int64), *(one.answer.rows for one in arrived)])
            return np.setdiff1d(rows, answered)

        finish = self._arrivals(step, rows, lambda arrived: not len(missing(arrived)))
        left, parts = rows, Parts()
        for one in finish.arrived:
            for part in one.answer.parts:
                chosen = np.intersect1d(part.rows, left, assume_unique=True)
                if part.outputs is not None and len(chosen):
                    outputs = part.outputs.take(np.searchsorted(part.rows, chosen))
                    parts.append(ScoredRecords(chosen, part.call, outputs))
            left = np.setdiff1d(left, one.answer.rows, assume_unique=True)
        return parts + finish.without_answer(left)

    def _consensus(self, step: RaceStep, rows: Rows) -> Parts:
        """For each record, the vote of all models that answer in time."""
        finish = self._arrivals(step, rows, lambda _: False)
        voters = [one.answer for one in sorted(finish.arrived, key=lambda one: one.entrant)]
        votes = np.array([np.isin(rows, voter.rows) for voter in voters]).reshape(len(voters), len(rows))
        parts = finish.without_answer(rows[~votes.any(axis=0)])
        patterns, group_of = np.unique(votes, axis=1, return_inverse=True)
        for number, pattern in enumerate(patterns.T):
            here = {str(place): voters[place] for place in np.flatnonzero(pattern).tolist()}
            if here:
                for group in alike(rows[group_of.reshape(-1) == number], here, here):
                    parts += _vote(finish, list(here.values()), group)
        return parts


@dataclass(frozen=True)
class _Finish:
    """A finished race: its start and duration in microseconds, and the answers that arrived in time."""

    step: RaceStep
    start: int
    duration: int
    arrived: list[Arrival[Answer]]

    def call(self, rows: Rows, error: str | None = None, steps: tuple[StepCall, ...] = ()) -> ModelCall:
        """The race as a call that names no model."""
        return ModelCall(None, self.start, self.duration, len(rows), error, steps=steps)

    def without_answer(self, rows: Rows) -> Parts:
        """The default answer, or an error, for records that no model answered."""
        if not len(rows):
            return []
        if self.step.default is not None:
            arrays = {name: constant_array(value, len(rows)) for name, value in self.step.default.items()}
            return [ScoredRecords(rows, self.call(rows), RecordOutputs(arrays, None))]
        reasons = dict.fromkeys(
            part.call.error for one in self.arrived for part in one.answer.parts if part.call.error is not None
        )
        error = f"no model answered within {self.step.deadline:g} s{''.join(f'; {one}' for one in reasons)}"
        return [ScoredRecords(rows, self.call(rows, error), None)]


def _vote(finish: _Finish, voters: Sequence[Answer], rows: Rows) -> Parts:
    try:
        outputs = vote_of_outputs([voter.of(rows) for voter in voters])
    except ScoringError as error:
        return [ScoredRecords(rows, finish.call(rows, str(error)), None)]
    steps = tuple(step_call(finish.step.name, part.call) for voter in voters for part in _good_parts(voter, rows))
    return [ScoredRecords(rows, finish.call(rows, steps=steps), outputs)]


def _good_parts(answer: Answer, rows: Rows) -> Iterator[ScoredRecords]:
    return (part for part in answer.parts if part.outputs is not None and np.isin(part.rows, rows).any())


def step_call(name: str, call: ModelCall) -> StepCall:
    """A call as the metadata of results list it."""
    model = call.model
    if model is None:
        return StepCall(name, None, None, call.duration, call.error)
    return StepCall(name, model.name, model.version, call.duration, call.error)


def _compute(rows: Rows, function: Callable[[Rows], RecordOutputs]) -> Parts:
    """Computes the outputs of records, and isolates records for which that fails."""
    start = microseconds()

    def call(indices: Sequence[int]) -> RecordOutputs:
        return function(rows if len(indices) == len(rows) else rows[list(indices)])

    return [
        ScoredRecords(
            rows[list(outcome.indices)],
            ModelCall(
                None,
                start,
                round(outcome.seconds * 1e6),
                len(outcome.indices),
                None if outcome.error is None else reason_of(outcome.error),
            ),
            outcome.answer,
        )
        for outcome in Isolation(call).score(len(rows))
    ]


def constant_array(value: object, count: int) -> Array:
    """A constant of a default answer, repeated for `count` records: texts become bytes, a list becomes a vector.

    >>> constant_array(0.5, 2).tolist(), constant_array(("a", "b"), 1).tolist()
    ([0.5, 0.5], [[b'a', b'b']])
    """
    values = list(value) if isinstance(value, tuple) else [value]
    if isinstance(values[0], str):
        one = np.empty(len(values), object)
        one[:] = [text.encode() for text in cast(Iterable[str], values)]
    else:
        one = np.array(values)
    rows: Array = np.repeat(one[None], count, axis=0)
    return rows if isinstance(value, tuple) else rows[:, 0]


def field_values(columns: pa.RecordBatch, name: str) -> Chosen:
    """A field of records as numbers: one per record, or an array of the same length in each; null becomes NaN.

    Raises:
      ScoringError: the field does not exist.
      FieldValueError: the field is not numeric, or its arrays differ in length.
    """
    if name not in columns.schema.names:
        raise ScoringError(f"the records have no field {name!r}; they have {', '.join(columns.schema.names)}")
    column = columns.column(columns.schema.get_field_index(name))
    try:
        if not pa.types.is_list(column.type):
            return Chosen(name, values_of(column, np.dtype(np.float64)), None)
        values = values_of(column.flatten(), np.dtype(np.float64))
    except ValueError as error:
        raise FieldValueError(f"field {name!r}: {error}") from error
    lengths = pc.list_value_length(column).fill_null(0).to_pylist()
    if len(set(lengths)) > 1:
        raise FieldValueError(f"field {name!r}: its arrays differ in length")
    return Chosen(name, values.reshape(len(column), lengths[0] if lengths else 0), None)
