"""Runs the steps of a graph over the records of one batch.

Each record takes its own path: if a step fails for a record, the following steps continue without that record, and
other records are not affected.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models.columns.condition import parse_condition
from models.columns.field_values import values_of
from models.columns.outputs import RecordOutputs
from models.columns.scored import ModelCall, ScoredRecords
from models.errors import ConditionError, FieldValueError, MappingError, ModelNotLoadedError, ScoringError
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
from models.graphs.combining import combine
from models.graphs.deciding import decide
from models.graphs.transforms import transform
from models.loading.loader import LoadedModel
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
from models.serving.calling import Score, kind_of, microseconds, no_answer, reason_of, score_by
from models.serving.graphs.race_answers import FinishedRace, unanswered
from models.serving.graphs.races import RACECOURSE, Arrival, Entrant
from models.serving.isolation import Isolation
from models.serving.leases import LeasedArm
from models.serving.registry import ModelRegistry

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
            parts = [no_answer(self._rows, reason_of(error), kind_of(error))]
        self.answers[name] = Answer(tuple(part for part in parts if len(part.rows)))

    def _run(self, step: Step) -> Parts:
        if isinstance(step, ModelStep):
            return self._call(step.use, self._rows)
        if isinstance(step, SwitchStep):
            return self._switch(step)
        rows = answered_by_all(self._rows, self.answers, step.references)
        if isinstance(step, RaceStep):
            return self._race(step, rows) if len(rows) else []
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
            return [no_answer(rows, leased.error or NO_MODEL, ModelNotLoadedError.kind)]
        try:
            columns, score = self._inputs(leased.model, use, rows)
        except (MappingError, ScoringError) as error:
            return [no_answer(rows, str(error), error.kind)]
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
                    return [*parts, no_answer(left, str(error), error.kind)]
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

    def _race(self, step: RaceStep, rows: Rows) -> Parts:
        def is_over(arrived: Sequence[Arrival[Answer]]) -> bool:
            return not step.consensus and not len(unanswered(rows, arrived))

        start = microseconds()
        arrived = RACECOURSE.race([self._entrant(use, rows) for use in step.entrants], step.deadline, is_over)
        race = FinishedRace(step, start, microseconds() - start, arrived)
        return race.consensus(rows) if step.consensus else race.first_answers(rows)

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
            return Answer((no_answer(rows, reason_of(error), kind_of(error)),))


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
                error_kind=None if outcome.error is None else kind_of(outcome.error),
            ),
            outcome.answer,
        )
        for outcome in Isolation(call).score(len(rows))
    ]


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
