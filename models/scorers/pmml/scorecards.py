"""Scorecard: partial scores that add up, and the reasons for a low score."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.scorers.pmml.columns import STRING, Column, Expression, Floats, Frame
from models.scorers.pmml.context import COMMON_ATTRIBUTES, COMMON_CHILDREN, Context, ReadBody
from models.scorers.pmml.elements import Element
from models.scorers.pmml.expressions import EXPRESSIONS, read_expression
from models.scorers.pmml.predicates import PREDICATE_TAGS, PREDICATES, Predicate, read_predicate
from models.scorers.pmml.predictions import Codes, Prediction


@dataclass(frozen=True)
class Attribute:
    """A score for the rows that satisfy a predicate, and the index of its reason."""

    predicate: Predicate
    score: float | Expression
    reason: int


@dataclass(frozen=True)
class Characteristic:
    """Attributes, of which the first one that is true gives the score; rows without one have no result."""

    attributes: tuple[Attribute, ...]
    baseline: float

    def scores(self, frame: Frame) -> tuple[Floats, Codes]:
        """The partial scores, and the indices of the reasons: [rows] each."""
        scores, reasons = np.full(frame.rows, np.nan), np.zeros(frame.rows, np.int64)
        rows = np.arange(frame.rows)
        for attribute in self.attributes:
            part = frame.subset(rows)
            true = attribute.predicate.test(part).true
            places = rows[true]
            reasons[places] = attribute.reason
            if isinstance(attribute.score, float):
                scores[places] = attribute.score
            else:
                computed = frame.subset(places)
                scores[places] = attribute.score.evaluate(computed).values
                frame.invalid[places] |= computed.invalid
            rows = rows[~true]
        return scores, reasons


@dataclass(frozen=True)
class Scorecard:
    """A scorecard.

    Attributes:
      initial: the start value of the sum.
      characteristics: the characteristics whose scores it adds up.
      reasons: the reason codes; empty if the scorecard has none.
      sign: 1 if points below the baseline are reasons, -1 if those above it are.
    """

    initial: float
    characteristics: tuple[Characteristic, ...]
    reasons: tuple[str, ...]
    sign: int

    def predict(self, frame: Frame) -> Prediction:
        """Scores all rows."""
        parts = [characteristic.scores(frame) for characteristic in self.characteristics]
        scores = np.stack([scores for scores, _ in parts], axis=1)
        numbers = self.initial + scores.sum(axis=1)
        if not self.reasons:
            return Prediction(numbers=numbers)
        baselines = np.array([characteristic.baseline for characteristic in self.characteristics])
        order = np.argsort(-self.sign * (baselines - scores), axis=1, kind="stable")
        codes = np.take_along_axis(np.stack([reasons for _, reasons in parts], axis=1), order, axis=1)
        texts = np.array(self.reasons, object)[codes]
        texts[np.isnan(numbers)] = None
        return Prediction(numbers=numbers, reasons=tuple(Column(texts[:, rank]) for rank in range(len(parts))))


def read_scorecard(element: Element, context: Context) -> ReadBody:
    """Reads a Scorecard."""
    settings = "initialScore useReasonCodes reasonCodeAlgorithm baselineScore baselineMethod"
    element.check(f"{COMMON_ATTRIBUTES} {settings}", f"{COMMON_CHILDREN} Characteristics")
    with_reasons = element.choice("useReasonCodes", "true false", "true") == "true"
    sign = 1 if element.choice("reasonCodeAlgorithm", "pointsAbove pointsBelow", "pointsBelow") == "pointsBelow" else -1
    reasons: list[str] = []
    characteristics = []
    owners: list[set[str]] = []
    for one in element.only("Characteristics").children:
        one.check("name reasonCode baselineScore", "Attribute")
        start = len(reasons)
        characteristics.append(_read_characteristic(one, element, context, with_reasons, reasons))
        owners.append(set(reasons[start:]))
    if not characteristics:
        element.refuse("it has no characteristics")
    named = with_reasons and len(set().union(*owners)) == sum(map(len, owners))  # a shared one would need a sum
    body = Scorecard(element.number("initialScore", 0.0), tuple(characteristics), tuple(reasons) if named else (), sign)
    return ReadBody(body, features=frozenset({"reasonCode"}) if named else frozenset())


def _read_characteristic(
    element: Element, scorecard: Element, context: Context, with_reasons: bool, reasons: list[str]
) -> Characteristic:
    attributes = []
    for one in element.children:
        one.check("partialScore reasonCode", f"{PREDICATE_TAGS} ComplexPartialScore")
        predicate = read_predicate(one.only(*PREDICATES), context.scope)
        code = one.get("reasonCode") or element.get("reasonCode")
        if with_reasons and code is None:
            one.refuse("it has no reasonCode, and neither has its Characteristic")
        attributes.append(Attribute(predicate, _read_score(one, context), len(reasons)))
        reasons.append(code or "")
    holder = element if "baselineScore" in element.attributes else scorecard
    baseline = holder.number("baselineScore") if with_reasons else 0.0
    return Characteristic(tuple(attributes), baseline)


def _read_score(element: Element, context: Context) -> float | Expression:
    complex_score = element.find("ComplexPartialScore")
    if complex_score is None:
        return element.number("partialScore")
    complex_score.check("", EXPRESSIONS)
    expression = read_expression(complex_score.only(*EXPRESSIONS.split()), context.scope)
    if expression.data_type == STRING:
        complex_score.refuse("it must be a number")
    return expression
