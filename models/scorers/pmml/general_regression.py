"""GeneralRegressionModel: parameters that are products of predictors, and a link function."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.scorers.pmml.columns import STRING, Floats, Frame, Value, literal
from models.scorers.pmml.context import COMMON_ATTRIBUTES, COMMON_CHILDREN, REGRESSION, Context, ReadBody
from models.scorers.pmml.elements import Element
from models.scorers.pmml.links import (
    CUMULATIVE,
    INVERSES,
    Link,
    from_cumulative,
    negative_binomial_link,
    odds_power_link,
    power_link,
    softmax,
)
from models.scorers.pmml.predictions import Prediction, classified


@dataclass(frozen=True)
class Cell:
    """One factor of a parameter: the power of a covariate, or whether a factor has a value."""

    field: str
    exponent: float | None
    value: Value | None

    def values(self, frame: Frame) -> Floats:
        """[rows], NaN where the field is missing."""
        column = frame.column(self.field)
        if self.exponent is not None:
            return np.asarray(column.values**self.exponent, np.float64)
        result = np.asarray(column.values == self.value, np.float64)
        result[column.missing()] = np.nan
        return result


@dataclass(frozen=True)
class Linear:
    """Sums over parameters: the coefficients are [parameters, sums]; a parameter without cells is 1."""

    parameters: tuple[tuple[Cell, ...], ...]
    coefficients: Floats
    offset_field: str | None
    offset: float

    def sums(self, frame: Frame) -> Floats:
        """[rows, sums], NaN in rows that lack a value."""
        design = np.ones((frame.rows, len(self.parameters)))
        for place, cells in enumerate(self.parameters):
            for cell in cells:
                design[:, place] *= cell.values(frame)
        offset = self.offset if self.offset_field is None else frame.column(self.offset_field).values[:, None]
        return np.asarray(design @ self.coefficients + offset, np.float64)


@dataclass(frozen=True)
class GeneralRegression:
    """A regression, which predicts a number."""

    linear: Linear
    inverse: Link
    trials_field: str | None
    trials: float

    def predict(self, frame: Frame) -> Prediction:
        """Scores all rows; a result that is not finite is missing."""
        trials = self.trials if self.trials_field is None else frame.column(self.trials_field).values
        with np.errstate(all="ignore"):
            numbers = self.inverse(self.linear.sums(frame)[:, 0]) * trials
        return Prediction(numbers=np.where(np.isfinite(numbers), numbers, np.nan))


@dataclass(frozen=True)
class GeneralClassifier:
    """A classification, relative to a reference class (multinomial) or to an order (ordinal)."""

    linear: Linear
    labels: tuple[str, ...]
    cumulative: Link | None
    reference: int = 0

    def predict(self, frame: Frame) -> Prediction:
        """Scores all rows."""
        sums = self.linear.sums(frame)
        if self.cumulative is not None:
            return classified(self.labels, from_cumulative(self.cumulative(sums)))
        return classified(self.labels, softmax(np.insert(sums, self.reference, 0.0, axis=1)))


@dataclass(frozen=True)
class Binary:
    """The probability of one of two classes, with any link function."""

    linear: Linear
    labels: tuple[str, ...]
    inverse: Link

    def predict(self, frame: Frame) -> Prediction:
        """Scores all rows; the first label is the one whose probability is computed."""
        with np.errstate(all="ignore"):
            first = self.inverse(self.linear.sums(frame)[:, 0])
        return classified(self.labels, np.stack([first, 1 - first], axis=1))


_TYPES = "regression generalLinear generalizedLinear multinomialLogistic ordinalMultinomial"
_ATTRIBUTES = (
    f"{COMMON_ATTRIBUTES} targetVariableName modelType targetReferenceCategory cumulativeLink linkFunction "
    "linkParameter trialsVariable trialsValue distribution distParameter offsetVariable offsetValue modelDF"
)
_CHILDREN = f"{COMMON_CHILDREN} ParameterList FactorList CovariateList PPMatrix PCovMatrix ParamMatrix"


def read_general_regression(element: Element, context: Context) -> ReadBody:
    """Reads a GeneralRegressionModel."""
    element.check(_ATTRIBUTES, _CHILDREN)
    model_type = element.choice("modelType", _TYPES)
    if model_type in ("multinomialLogistic", "ordinalMultinomial"):
        if context.function == REGRESSION:
            element.refuse(f"modelType {model_type!r} is not supported for a regression")
        return _read_classes(element, context, model_type)
    inverse = _read_link(element, model_type)
    categories = _categories(element, context)
    if context.function == REGRESSION:
        if any(label is not None for label in categories):
            element.refuse("a regression has no targetCategory in its ParamMatrix")
        trials_field = element.get("trialsVariable")
        if trials_field is not None:
            context.scope.number(trials_field, element)
        linear = _read_linear(element, context, (None,))
        return ReadBody(GeneralRegression(linear, inverse, trials_field, element.number("trialsValue", 1.0)))
    labels = [label for label in categories if label is not None]
    others = [label for label in _all_labels(element, context) if label not in labels]
    if len(categories) != 1 or len(labels) != 1 or len(others) != 1:
        element.refuse("a classification by a generalized linear model needs two classes, one of them in ParamMatrix")
    pair = (labels[0], others[0])
    return ReadBody(Binary(_read_linear(element, context, (labels[0],)), pair, inverse), pair, True)


def _read_link(element: Element, model_type: str) -> Link:
    links = "identity log logc logit loglog cloglog probit negbin oddspower power"
    link = element.choice("linkFunction", links, None if model_type == "generalizedLinear" else "identity")
    if link == "power":
        return power_link(element.number("linkParameter"))
    if link == "oddspower":
        return odds_power_link(element.number("linkParameter"))
    if link == "negbin":
        return negative_binomial_link(element.number("distParameter"))
    return INVERSES[link]


def _categories(element: Element, context: Context) -> tuple[str | None, ...]:
    """The classes in ParamMatrix, in their order; None for cells without one."""
    cells = element.only("ParamMatrix").children
    texts = [one.get("targetCategory") for one in cells]
    labels = [None if text is None else context.label(text, one) for text, one in zip(texts, cells, strict=True)]
    return tuple(dict.fromkeys(labels))


def _all_labels(element: Element, context: Context) -> tuple[str, ...]:
    found = [label for label in _categories(element, context) if label is not None]
    reference = element.get("targetReferenceCategory")
    if reference is not None:
        found.append(context.label(reference, element))
    return context.ordered([*context.declared(), *found])


def _read_classes(element: Element, context: Context, model_type: str) -> ReadBody:
    categories = _categories(element, context)
    labels = _all_labels(element, context)
    given = tuple(label for label in labels if label in categories)
    missing = [label for label in labels if label not in given]
    reference = element.get("targetReferenceCategory")
    if len(missing) != 1 or (reference is not None and context.label(reference, element) != missing[0]):
        element.refuse(f"exactly one class, the reference, must not be in ParamMatrix; these are not: {missing}")
    linear = _read_linear(element, context, given)
    if model_type == "multinomialLogistic":
        body = GeneralClassifier(linear, labels, None, labels.index(missing[0]))
        return ReadBody(body, labels, True)
    if missing[0] != labels[-1] or not context.declared():
        element.refuse("an ordinal model needs the values of its target in their order, and no parameters of the last")
    link = element.choice("cumulativeLink", " ".join(CUMULATIVE))
    return ReadBody(GeneralClassifier(linear, labels, CUMULATIVE[link]), labels, True)


def _read_linear(element: Element, context: Context, sums: tuple[str | None, ...]) -> Linear:
    names = []
    for one in element.only("ParameterList").children:
        one.check("name label referencePoint")
        if one.number("referencePoint", 0.0) != 0:
            one.refuse("a referencePoint other than 0 is not supported")
        names.append(one.need("name"))
    cells = _read_cells(element, context, names)
    coefficients = np.zeros((len(names), len(sums)))
    for one in element.only("ParamMatrix").children:
        one.check("targetCategory parameterName beta df")
        if one.need("parameterName") not in names:
            one.refuse(f"parameter {one.need('parameterName')!r} is not in ParameterList")
        place = names.index(one.need("parameterName"))
        text = one.get("targetCategory")
        label = None if text is None else context.label(text, one)
        for number, wanted in enumerate(sums):
            if label in (None, wanted):  # a cell without a class applies to all
                coefficients[place, number] += one.number("beta")
    field = element.get("offsetVariable")
    if field is not None:
        context.scope.number(field, element)
    parameters = tuple(tuple(cells.get(name, ())) for name in names)
    return Linear(parameters, coefficients, field, element.number("offsetValue", 0.0))


def _read_cells(element: Element, context: Context, names: list[str]) -> dict[str, list[Cell]]:
    factors, covariates = (_predictors(element, tag) for tag in ("FactorList", "CovariateList"))
    matrix = element.find("PPMatrix")
    cells: dict[str, list[Cell]] = {}
    for one in () if matrix is None else matrix.children:
        one.check("value predictorName parameterName")
        name, field = one.need("parameterName"), one.need("predictorName")
        if name not in names:
            one.refuse(f"parameter {name!r} is not in ParameterList")
        data_type = context.scope.type_of(field, one)
        if field in factors:
            cell = Cell(field, None, literal(one.need("value"), data_type, one))
        elif field in covariates and data_type != STRING:
            cell = Cell(field, one.number("value"), None)
        else:
            one.refuse(f"predictor {field!r} is neither a factor nor a covariate that is a number")
        cells.setdefault(name, []).append(cell)
    return cells


def _predictors(element: Element, tag: str) -> set[str]:
    found = element.find(tag)
    names = set()
    for one in () if found is None else found.children:
        one.check("name")  # and so no matrix of contrasts
        names.add(one.need("name"))
    return names
