"""RegressionModel: sums of terms, one for each class in a classification."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.scorers.pmml.columns import Floats, Frame, Scope, Value, literal
from models.scorers.pmml.context import COMMON_ATTRIBUTES, COMMON_CHILDREN, REGRESSION, Context, ReadBody
from models.scorers.pmml.elements import Element
from models.scorers.pmml.links import CUMULATIVE, from_cumulative, logistic, simplemax, softmax
from models.scorers.pmml.predictions import Prediction, classified

_METHODS = "none simplemax softmax logit probit cloglog exp loglog cauchit"


@dataclass(frozen=True)
class Table:
    """The terms of one sum.

    Attributes:
      intercept: the start value of the sum.
      numeric: fields with exponent and coefficient; a missing value makes the sum missing.
      categorical: fields with the coefficients of their values; a missing or unknown value adds nothing.
      products: coefficients with the fields that they multiply.
    """

    intercept: float
    numeric: tuple[tuple[str, float, float], ...]
    categorical: tuple[tuple[str, dict[Value, float]], ...]
    products: tuple[tuple[float, tuple[str, ...]], ...]

    @property
    def trivial(self) -> bool:
        """Whether it has no terms."""
        return not (self.numeric or self.categorical or self.products)

    def sums(self, frame: Frame) -> Floats:
        """The sum of each row: [rows]."""
        total = np.full(frame.rows, self.intercept)
        for field, exponent, coefficient in self.numeric:
            values = frame.column(field).values
            total += coefficient * (values if exponent == 1 else np.power(values, exponent))
        for field, coefficients in self.categorical:
            values = frame.column(field).values.tolist()
            total += np.fromiter((coefficients.get(value, 0.0) for value in values), np.float64, frame.rows)
        for coefficient, fields in self.products:
            total += coefficient * np.prod([frame.column(field).values for field in fields], axis=0)
        return total


@dataclass(frozen=True)
class Regression:
    """One sum, and its conversion to a prediction."""

    table: Table
    method: str

    def predict(self, frame: Frame) -> Prediction:
        """Scores all rows."""
        return Prediction(numbers=normalized(self.table.sums(frame), self.method))


@dataclass(frozen=True)
class Classifier:
    """A sum for each class, and their conversion to probabilities."""

    tables: tuple[Table, ...]
    labels: tuple[str, ...]
    method: str
    ordinal: bool

    def predict(self, frame: Frame) -> Prediction:
        """Scores all rows."""
        sums = np.stack([table.sums(frame) for table in self.tables], axis=1)
        if self.method == "softmax":
            return classified(self.labels, softmax(sums))
        if self.method == "simplemax":
            return classified(self.labels, simplemax(sums))
        shares = normalized(sums, self.method)
        if self.ordinal:
            return classified(self.labels, from_cumulative(shares[:, :-1]))
        if len(self.labels) == 2:
            first = np.clip(shares[:, 0], 0, 1)
            return classified(self.labels, np.stack([first, 1 - first], axis=1))
        rest = 1 - shares[:, :-1].sum(axis=1)  # only for the method none
        return classified(self.labels, np.concatenate([shares[:, :-1], rest[:, None]], axis=1))


def normalized(values: Floats, method: str) -> Floats:
    """Applies a method that does not need the values of other classes."""
    if method == "none":
        return values
    if method == "softmax":
        return logistic(values)
    if method == "exp":
        return np.exp(values)
    return CUMULATIVE[method](values)


def read_regression(element: Element, context: Context) -> ReadBody:
    """Reads a RegressionModel."""
    attributes = f"{COMMON_ATTRIBUTES} modelType targetFieldName normalizationMethod targetField"
    element.check(attributes, f"{COMMON_CHILDREN} RegressionTable")
    method = element.choice("normalizationMethod", _METHODS, "none")
    found = element.all("RegressionTable")
    tables = tuple(_read_table(one, context.scope) for one in found)
    if context.function == REGRESSION:
        if len(tables) != 1 or method == "simplemax":
            element.refuse("a regression needs one RegressionTable, and no simplemax")
        return ReadBody(Regression(tables[0], method))
    labels = tuple(context.label(one.need("targetCategory"), one) for one in found)
    if len(labels) < 2 or len(set(labels)) != len(labels):
        element.refuse("a classification needs a RegressionTable for each class, and at least two")
    ordinal = (
        context.target is not None and context.target.optype == "ordinal" and method not in ("softmax", "simplemax")
    )
    _check_classes(element, tables, method, ordinal)
    return ReadBody(Classifier(tables, labels, method, ordinal), labels, has_probabilities=True)


def _check_classes(element: Element, tables: tuple[Table, ...], method: str, ordinal: bool) -> None:
    if method in ("softmax", "simplemax"):
        return
    if method == "exp":
        element.refuse("normalizationMethod 'exp' gives no probabilities of classes")
    if not tables[-1].trivial:
        element.refuse(
            f"with normalizationMethod {method!r}, the last RegressionTable must have no terms: its class has the "
            "probability that the others leave"
        )
    if len(tables) > 2 and not ordinal and method != "none":
        element.refuse(f"normalizationMethod {method!r} is supported for two classes, or for an ordinal target")


def _read_table(element: Element, scope: Scope) -> Table:
    element.check("intercept targetCategory", "NumericPredictor CategoricalPredictor PredictorTerm")
    numeric, products = [], []
    categorical: dict[str, dict[Value, float]] = {}
    for child in element.children:
        if child.tag == "NumericPredictor":
            child.check("name exponent coefficient")
            field = scope.number(child.need("name"), child)
            numeric.append((field, child.number("exponent", 1.0), child.number("coefficient")))
        elif child.tag == "CategoricalPredictor":
            child.check("name value coefficient")
            name = child.need("name")
            value = literal(child.need("value"), scope.type_of(name, child), child)
            coefficients = categorical.setdefault(name, {})
            coefficients[value] = coefficients.get(value, 0.0) + child.number("coefficient")
        else:
            child.check("name coefficient", "FieldRef")
            products.append((child.number("coefficient"), tuple(_product_field(one, scope) for one in child.children)))
    return Table(element.number("intercept"), tuple(numeric), tuple(categorical.items()), tuple(products))


def _product_field(element: Element, scope: Scope) -> str:
    element.check("field")
    return scope.number(element.need("field"), element)
