"""Link functions, which convert sums to predictions and probabilities."""

from __future__ import annotations

from collections.abc import Callable
from math import erfc, sqrt

import numpy as np

from models.scorers.pmml.columns import Floats

Link = Callable[[Floats], Floats]


def logistic(values: Floats) -> Floats:
    """1 / (1 + exp(-x))."""
    with np.errstate(over="ignore"):
        return np.asarray(1 / (1 + np.exp(-values)), np.float64)


def _probit(values: Floats) -> Floats:
    flat = [0.5 * erfc(-value / sqrt(2)) for value in values.ravel().tolist()]
    return np.array(flat, np.float64).reshape(values.shape)


def _exp(values: Floats) -> Floats:
    with np.errstate(over="ignore"):
        return np.asarray(np.exp(values), np.float64)


def _cloglog(values: Floats) -> Floats:
    return np.asarray(-np.expm1(-_exp(values)), np.float64)


def _loglog(values: Floats) -> Floats:
    return _exp(-_exp(-values))


def _cauchit(values: Floats) -> Floats:
    return np.asarray(0.5 + np.arctan(values) / np.pi, np.float64)


# The inverses of link functions, which yield cumulative probabilities.
CUMULATIVE: dict[str, Link] = {
    "logit": logistic,
    "probit": _probit,
    "cloglog": _cloglog,
    "loglog": _loglog,
    "cauchit": _cauchit,
}

INVERSES: dict[str, Link] = {
    **{name: CUMULATIVE[name] for name in ("logit", "probit", "cloglog", "loglog")},
    "identity": lambda values: values,
    "log": _exp,
    "logc": lambda values: 1 - _exp(values),
}


def power_link(exponent: float) -> Link:
    """The inverse of x ** exponent, and of ln x for 0."""
    return _exp if exponent == 0 else lambda values: np.power(values, 1 / exponent)


def odds_power_link(exponent: float) -> Link:
    """The inverse of the odds power link, which is logit for 0."""
    if exponent == 0:
        return logistic
    return lambda values: 1 / (1 + np.power(1 + exponent * values, -1 / exponent))


def negative_binomial_link(parameter: float) -> Link:
    """The inverse of the link of the negative binomial distribution."""
    return lambda values: 1 / (parameter * np.expm1(-values))


def softmax(values: Floats) -> Floats:
    """Probabilities of the classes: [rows, classes]; NaN in rows that have NaN."""
    powers = np.exp(values - values.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float64)


def simplemax(values: Floats) -> Floats:
    """Shares of the classes: [rows, classes]; NaN in rows whose sum is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(values / values.sum(axis=1, keepdims=True), np.float64)


def from_cumulative(values: Floats) -> Floats:
    """The probability of each class, from cumulative probabilities, of which the last one is left out.

    >>> from_cumulative(np.array([[0.25, 0.75]]))
    array([[0.25, 0.5 , 0.25]])
    """
    rows = len(values)
    return np.diff(np.concatenate([np.zeros((rows, 1)), values, np.ones((rows, 1))], axis=1), axis=1)
