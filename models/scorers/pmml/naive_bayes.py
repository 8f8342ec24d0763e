"""NaiveBayesModel: counts and normal distributions of independent inputs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.scorers.pmml.columns import STRING, Column, Derived, Floats, Frame, Value, literal
from models.scorers.pmml.context import COMMON_ATTRIBUTES, COMMON_CHILDREN, Context, ReadBody
from models.scorers.pmml.elements import Element
from models.scorers.pmml.expressions import read_derived
from models.scorers.pmml.links import softmax
from models.scorers.pmml.predictions import Prediction, classified


@dataclass(frozen=True)
class Counts:
    """An input with values: the logarithms of their probabilities are [values + 1, classes], the last ones 0."""

    values: dict[Value, int]
    logarithms: Floats

    def log_likelihoods(self, column: Column) -> Floats:
        """[rows, classes]: 0 for missing and unknown values, which have no effect."""
        unknown = len(self.values)
        places = np.fromiter(
            (self.values.get(value, unknown) for value in column.values.tolist()), np.intp, len(column.values)
        )
        return np.asarray(self.logarithms[places], np.float64)


@dataclass(frozen=True)
class Normal:
    """An input that is a number: mean and variance for each class."""

    mean: Floats
    variance: Floats
    threshold: float

    def log_likelihoods(self, column: Column) -> Floats:
        """[rows, classes]: 0 for missing values."""
        distance = np.square(column.values[:, None] - self.mean) / self.variance
        logarithms = -0.5 * (np.log(2 * np.pi * self.variance) + distance)
        if self.threshold > 0:
            logarithms = np.maximum(logarithms, np.log(self.threshold))
        return np.where(column.missing()[:, None], 0.0, logarithms)


@dataclass(frozen=True)
class NaiveBayes:
    """The inputs, each a field or derived from one, and the logarithms of the frequencies of the classes."""

    inputs: tuple[tuple[str | Derived, Counts | Normal], ...]
    labels: tuple[str, ...]
    priors: Floats

    def predict(self, frame: Frame) -> Prediction:
        """Scores all rows; one for which no class is possible has no result."""
        total = np.tile(self.priors, (frame.rows, 1))
        for source, distribution in self.inputs:
            column = frame.column(source) if isinstance(source, str) else source.evaluate(frame)
            total = total + distribution.log_likelihoods(column)
        with np.errstate(invalid="ignore"):
            return classified(self.labels, softmax(total))


def read_naive_bayes(element: Element, context: Context) -> ReadBody:
    """Reads a NaiveBayesModel."""
    element.check(f"{COMMON_ATTRIBUTES} threshold", f"{COMMON_CHILDREN} BayesInputs BayesOutput")
    threshold = element.number("threshold")
    output = element.only("BayesOutput")
    output.check("fieldName", "TargetValueCounts")
    counts = _counts(output.only("TargetValueCounts"), context)
    labels = context.ordered(list(counts))
    totals = np.array([counts[label] for label in labels])
    if (totals <= 0).any() or threshold < 0:
        output.refuse("the count of each class must be above 0, and the threshold not below")
    inputs = element.only("BayesInputs")
    inputs.check("", "BayesInput")
    read = tuple(_read_input(one, context, labels, threshold) for one in inputs.children)
    return ReadBody(NaiveBayes(read, labels, np.log(totals)), labels, has_probabilities=True)


def _counts(element: Element, context: Context) -> dict[str, float]:
    counts: dict[str, float] = {}
    for one in element.children:
        one.check("value count")
        counts[context.label(one.need("value"), one)] = one.number("count")
    return counts


def _read_input(
    element: Element, context: Context, labels: tuple[str, ...], threshold: float
) -> tuple[str | Derived, Counts | Normal]:
    element.check("fieldName", "TargetValueStats PairCounts DerivedField")
    derived = element.find("DerivedField")
    source: str | Derived = element.need("fieldName")
    if derived is None:
        data_type = context.scope.type_of(element.need("fieldName"), element)
    else:
        _, source = read_derived(derived, context.scope)
        data_type = source.data_type
    stats = element.find("TargetValueStats")
    if stats is not None:
        if data_type == STRING:
            stats.refuse("a distribution of texts is not supported")
        return source, _read_normal(stats, context, labels, threshold)
    return source, _read_counts(element, context, labels, threshold, data_type)


def _read_counts(
    element: Element, context: Context, labels: tuple[str, ...], threshold: float, data_type: str
) -> Counts:
    values: dict[Value, int] = {}
    rows: list[list[float]] = []
    for one in element.all("PairCounts"):
        one.check("value", "TargetValueCounts")
        values[literal(one.need("value"), data_type, one)] = len(rows)
        counts = _counts(one.only("TargetValueCounts"), context)
        rows.append([counts.get(label, 0.0) for label in labels])
    if len(values) != len(rows) or not rows:
        element.refuse("it needs PairCounts, each of another value")
    table = np.array(rows)
    totals = table.sum(axis=0)
    if (totals <= 0).any() or (table < 0).any():
        element.refuse("each class must have counts above 0 in it")
    with np.errstate(divide="ignore"):
        logarithms = np.log(np.where(table > 0, table / totals, threshold))
    return Counts(values, np.concatenate([logarithms, np.zeros((1, len(labels)))]))


def _read_normal(element: Element, context: Context, labels: tuple[str, ...], threshold: float) -> Normal:
    found = {}
    for one in element.children:
        one.check("value", "GaussianDistribution")
        distribution = one.only("GaussianDistribution")
        distribution.check("mean variance")
        if distribution.number("variance") <= 0:
            distribution.refuse("the variance must be above 0")
        label = context.label(one.need("value"), one)
        found[label] = (distribution.number("mean"), distribution.number("variance"))
    if set(found) != set(labels):
        element.refuse(f"it must have a distribution for each class: {', '.join(labels)}")
    mean, variance = np.array([found[label] for label in labels]).T
    return Normal(mean, variance, threshold)
