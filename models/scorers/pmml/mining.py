"""MiningModel: several models, which score different rows, the same rows together, or one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from models.scorers.pmml.columns import Bools, Column, Floats, Frame, Places, Scope, constant
from models.scorers.pmml.combined_numbers import combined_numbers
from models.scorers.pmml.context import (
    CLASSIFICATION,
    CLUSTERING,
    COMMON_ATTRIBUTES,
    COMMON_CHILDREN,
    REGRESSION,
    Context,
    Model,
    ReadBody,
)
from models.scorers.pmml.elements import Element
from models.scorers.pmml.forests import Forest, forest_of
from models.scorers.pmml.predicates import PREDICATE_TAGS, PREDICATES, Always, Predicate, read_predicate
from models.scorers.pmml.predictions import Prediction, classified

MODEL_TAGS = (
    "ClusteringModel GeneralRegressionModel MiningModel NaiveBayesModel NeuralNetwork RegressionModel Scorecard "
    "TreeModel"
)
VOTES = ("majorityVote", "weightedMajorityVote")
_NUMBERS = ("average", "weightedAverage", "median", "max", "sum", "weightedSum")
_SHARES = ("average", "weightedAverage")
_PICKING = ("selectFirst", "selectAll", "modelChain")
_WEIGHTED = ("weightedMajorityVote", "weightedAverage", "weightedSum")


@dataclass(frozen=True)
class Segment:
    """A model for the rows of a predicate."""

    id: str
    predicate: Predicate
    weight: float
    model: Model

    @property
    def is_for_all(self) -> bool:
        """Whether the segment applies to every row."""
        return isinstance(self.predicate, Always) and self.predicate.value

    def places(self, frame: Frame) -> Places | None:
        """The rows to which the segment applies; None for all."""
        if self.is_for_all:
            return None
        return np.flatnonzero(self.predicate.test(frame).true)

    def score(self, frame: Frame) -> tuple[Prediction, Bools, Frame]:
        """The prediction for all rows of a frame, the rows to which it applies, and the frame with its outputs."""
        places = self.places(frame)
        if places is None:
            prediction, scored = self.model.score(frame)
            return prediction, np.ones(frame.rows, bool), scored
        prediction, scored = self.model.score(frame.subset(places))
        chosen = np.zeros(frame.rows, bool)
        chosen[places] = True
        return prediction.scattered(places, frame.rows), chosen, scored


@dataclass(frozen=True)
class Ensemble:
    """All segments of a row, combined into one result.

    Attributes:
      segments: the segments of the model.
      method: how they are combined.
      labels: the labels of a classification.
      skips: whether a segment without a result is left out; otherwise the row has none.
      threshold: the largest share of segments that may be left out.
      forest: the segments, if they are trees for all rows that can be walked together.
    """

    segments: tuple[Segment, ...]
    method: str
    labels: tuple[str, ...]
    skips: bool
    threshold: float
    forest: Forest | None

    def predict(self, frame: Frame) -> Prediction:
        """Scores all rows; one without a segment has no result."""
        if self.forest is not None:
            predictions, chosen = self.forest.predict(frame), np.ones((frame.rows, len(self.segments)), bool)
        else:
            scored = [segment.score(frame) for segment in self.segments]
            predictions, chosen = [one for one, _, _ in scored], np.stack([rows for _, rows, _ in scored], axis=1)
        missing = np.stack([prediction.missing() for prediction in predictions], axis=1) & chosen
        used = chosen & ~missing
        weights = [segment.weight if self.method in _WEIGHTED else 1.0 for segment in self.segments]
        refused = self._lost(missing, chosen) if self.skips else missing.any(axis=1)
        result = self._combined(predictions, used * np.array(weights), used)
        found = {segment.id: one for segment, one in zip(self.segments, predictions, strict=True)}
        return replace(result.without(np.asarray(~used.any(axis=1) | refused, bool)), segments=found)

    def _lost(self, missing: Bools, chosen: Bools) -> Bools:
        with np.errstate(invalid="ignore"):
            return np.asarray(missing.sum(axis=1) / chosen.sum(axis=1) > self.threshold, bool)

    def _combined(self, predictions: Sequence[Prediction], weights: Floats, used: Bools) -> Prediction:
        """The result of each row from the results of the segments: weights and used are [rows, segments]."""
        if not self.labels:
            numbers = [one.numbers for one in predictions if one.numbers is not None]
            return Prediction(numbers=combined_numbers(np.stack(numbers, axis=1), weights, used, self.method))
        total = np.zeros((len(used), len(self.labels)))
        rows = np.arange(len(used))
        for number, one in enumerate(predictions):
            assert one.codes is not None
            places = np.array([self.labels.index(label) for label in one.labels], np.intp)
            if self.method in VOTES:
                np.add.at(total, (rows, places[one.codes]), weights[:, number])
            else:
                assert one.probabilities is not None
                parts = np.where(used[:, number, None], one.probabilities, 0.0)
                # A slice is added to in place.
                own: Any = slice(None) if one.labels == self.labels else places
                total[:, own] += weights[:, number, None] * parts
        with np.errstate(divide="ignore", invalid="ignore"):
            shares = total / weights.sum(axis=1, keepdims=True)
        return classified(self.labels, shares)


@dataclass(frozen=True)
class Selection:
    """The first segment whose predicate is true for a row."""

    segments: tuple[Segment, ...]
    labels: tuple[str, ...]
    function: str

    def predict(self, frame: Frame) -> Prediction:
        """Scores all rows; one without a segment has no result."""
        rows, result, found = np.arange(frame.rows), nothing(self.labels, self.function, frame.rows), {}
        for segment in self.segments:
            prediction, chosen, _ = segment.score(frame.subset(rows))
            result = merged(result, prediction, rows[chosen], chosen)
            found[segment.id] = prediction.scattered(rows, frame.rows)
            rows = rows[~chosen]
        return replace(result, segments=found)


@dataclass(frozen=True)
class AllSegments:
    """Each segment on its own: only outputs that name a segment have results."""

    segments: tuple[Segment, ...]

    def predict(self, frame: Frame) -> Prediction:
        """Scores all rows."""
        found = {segment.id: segment.score(frame)[0] for segment in self.segments}
        return Prediction(numbers=np.full(frame.rows, np.nan), segments=found)


@dataclass(frozen=True)
class Chain:
    """Segments that are scored in order, each with the outputs of those before it; the result is that of the last."""

    segments: tuple[Segment, ...]
    labels: tuple[str, ...]
    function: str

    def predict(self, frame: Frame) -> Prediction:
        """Scores all rows."""
        frame = Frame(frame.rows, {}, parent=frame)
        result, found = nothing(self.labels, self.function, frame.rows), {}
        for segment in self.segments:
            prediction, chosen, scored = segment.score(frame)
            found[segment.id] = prediction
            places = np.flatnonzero(chosen)
            outputs = {name: scored.column(name) for name in segment.model.output_types}
            frame.add({name: _spread(column, places, frame.rows) for name, column in outputs.items()})
            if segment.model.function == self.function:
                result = merged(result, prediction, places, chosen)
        return replace(result, segments=found)


def _spread(column: Column, places: Places, rows: int) -> Column:
    values = constant(None, rows, column.is_text).values
    values[places] = column.values
    return Column(values)


def nothing(labels: tuple[str, ...], function: str, rows: int) -> Prediction:
    """Missing results."""
    if function == REGRESSION:
        return Prediction(numbers=np.full(rows, np.nan))
    shares = np.full((rows, len(labels)), np.nan)
    return Prediction(labels=labels, codes=np.full(rows, -1, np.int64), probabilities=shares)


def merged(result: Prediction, other: Prediction, places: Places, chosen: Bools) -> Prediction:
    """The result, with some of its rows replaced by those of another one.

    Args:
      result: the result so far.
      other: the other result, whose rows `chosen` go to `places`.
      places: the rows of the result to replace.
      chosen: the rows of the other result.
    """
    if result.numbers is not None and other.numbers is not None:
        numbers = result.numbers.copy()
        numbers[places] = other.numbers[chosen]
        return replace(result, numbers=numbers)
    assert result.codes is not None and other.codes is not None and result.probabilities is not None
    known = np.array([*(result.labels.index(label) for label in other.labels), -1], np.int64)
    codes, shares = result.codes.copy(), result.probabilities.copy()
    codes[places] = known[other.codes[chosen]]
    if other.probabilities is None:
        return replace(result, codes=codes)
    part = np.zeros((len(places), len(result.labels)))
    part[:, known[:-1]] = other.probabilities[chosen]
    part[np.isnan(part).any(axis=1)] = np.nan
    shares[places] = part
    return replace(result, codes=codes, probabilities=shares)


def read_mining(element: Element, context: Context) -> ReadBody:
    """Reads a MiningModel."""
    element.check(COMMON_ATTRIBUTES, f"{COMMON_CHILDREN} Segmentation")
    holder = element.only("Segmentation")
    holder.check("multipleModelMethod missingPredictionTreatment missingThreshold", "Segment LocalTransformations")
    if holder.all("LocalTransformations"):
        holder.refuse("LocalTransformations in a Segmentation are not supported")
    method = holder.choice("multipleModelMethod", " ".join((*VOTES, *_NUMBERS, *_PICKING)))
    treatment = holder.choice("missingPredictionTreatment", "returnMissing skipSegment continue", "continue")
    segments = _read_segments(holder, context, method)
    if not segments:
        holder.refuse("it has no segments")
    labels = context.ordered([label for segment in segments for label in segment.model.labels])
    _check_functions(holder, segments, context, method)
    probabilities = _has_probabilities(holder, segments, context, method)
    pairs = tuple((segment.id, segment.model) for segment in segments)
    if method == "selectAll":
        return ReadBody(AllSegments(segments), segments=pairs)
    labels = labels if method in _PICKING or context.function == CLASSIFICATION else ()
    if method == "modelChain":
        final = [segment for segment in segments if segment.model.function == context.function]
        labels = context.ordered([label for segment in final for label in segment.model.labels])
        body: Any = Chain(segments, labels, context.function)
    elif method == "selectFirst":
        body = Selection(segments, labels, context.function)
    else:
        skips, threshold = treatment == "skipSegment", holder.number("missingThreshold", 1.0)
        forest = forest_of([segment.model.bare if segment.is_for_all else None for segment in segments])
        body = Ensemble(segments, method, labels, skips, threshold, forest)
    return ReadBody(body, labels, probabilities, segments=pairs)


def _read_segments(holder: Element, context: Context, method: str) -> tuple[Segment, ...]:
    scope, segments = context.scope, []
    for number, one in enumerate(holder.all("Segment")):
        one.check("id weight", f"{PREDICATE_TAGS} {MODEL_TAGS}")
        predicate = read_predicate(one.only(*PREDICATES), scope)
        model = context.read_model(one.only(*MODEL_TAGS.split()), scope)
        weight = one.number("weight", 1.0)
        if weight < 0:
            one.refuse("its weight is below 0")
        segments.append(Segment(one.get("id") or str(number + 1), predicate, weight, model))
        if method == "modelChain":
            scope = _with_outputs(scope, model, one)
    if len({segment.id for segment in segments}) != len(segments):
        holder.refuse("two segments have the same id")
    return tuple(segments)


def _with_outputs(scope: Scope, model: Model, element: Element) -> Scope:
    for name in model.output_types:
        if name in scope.fields:
            element.refuse(f"its output {name!r} has the name of another field")
    return scope.with_fields(model.output_types)


def _check_functions(holder: Element, segments: Sequence[Segment], context: Context, method: str) -> None:
    functions = [segment.model.function for segment in segments]
    if method == "modelChain":
        if functions[-1] != context.function:
            holder.refuse("the last model of the chain has another functionName than the MiningModel")
        return
    if set(functions) != {context.function}:
        holder.refuse("its models have another functionName than the MiningModel")
    allowed = {REGRESSION: (*_NUMBERS, *_PICKING), CLASSIFICATION: (*VOTES, *_SHARES, *_PICKING), CLUSTERING: _PICKING}
    if method not in allowed[context.function]:
        holder.refuse(f"multipleModelMethod {method!r} is not supported for functionName {context.function!r}")


def _has_probabilities(holder: Element, segments: Sequence[Segment], context: Context, method: str) -> bool:
    if context.function != CLASSIFICATION or method in VOTES:
        return context.function == CLASSIFICATION
    lacking = [one.id for one in segments if one.model.function == CLASSIFICATION and not one.model.has_probabilities]
    if method in _SHARES and lacking:
        holder.refuse(f"segment {lacking[0]!r} has no probabilities, which multipleModelMethod {method!r} needs")
    return not lacking
