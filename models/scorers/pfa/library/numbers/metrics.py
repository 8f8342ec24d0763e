"""Distances between arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from models.scorers.pfa.avro_types import BOOLEAN, DOUBLE, NULL, Array, Type, Union, is_nullable, without_null
from models.scorers.pfa.columns import Bools, Column, Lists, Scalars, Tagged
from models.scorers.pfa.frames import Frame
from models.scorers.pfa.library.calls import (
    NUMBER_ARRAY,
    Call,
    Floats,
    Signature,
    Site,
    doubles,
    of_columns,
    of_values,
)
from models.scorers.pfa.nodes import Node, coerced, variable_node

_DIFFERENT = "dimensions of vectors do not match"


def _items(call: Call, place: int) -> Type:
    kind = call.node(place).type
    if not isinstance(kind, Array):
        call.element.refuse(f"{call.name}: argument {place + 1} must be an array")
    return kind.items


def _present(column: Column, kind: Type) -> tuple[Column, Bools]:
    """The values of items that may be null, and which of them are not null."""
    if isinstance(column, Tagged) and isinstance(kind, Union):
        null = kind.members.index(NULL)
        return column.members[1 - null], np.asarray(column.tags != null, np.bool_)
    return column, np.ones(column.rows, bool)


def _metric(
    increment: Callable[[Floats, Floats], Floats], finish: Callable[[Floats, Floats], Floats], with_power: bool = False
) -> Callable[[Call], Node]:
    """A metric that combines the similarities of the items of two arrays; items that are null are left out.

    Args:
      increment: returns what a similarity adds, given the power of the metric.
      finish: returns the distance, given the sum and the power.
      with_power: whether it has an argument for the power.
    """

    def compile_call(call: Call) -> Node:
        fixed = 4 if with_power else 3
        call.check_count(fixed, fixed + 1)
        kinds = [_items(call, place) for place in (1, 2)]
        for kind in kinds:
            call.refuse_unless(not isinstance(kind, Union) or (is_nullable(kind) and len(kind.members) == 2), "union")
        variables = [variable_node(without_null(kind) if isinstance(kind, Union) else kind) for kind in kinds]
        similarity = coerced(call.function(0).apply(variables), DOUBLE, call.element)
        arrays = [call.column_node(place) for place in (1, 2)]
        power = call.column_node(3, DOUBLE) if with_power else None
        weights = call.column_node(fixed, NUMBER_ARRAY) if len(call.arguments) > fixed else None

        def evaluate(frame: Frame) -> Column:
            pair = [node.evaluate(frame) for node in arrays]
            weight = None if weights is None else weights.evaluate(frame)
            one, other, given = _checked(call, frame, pair, weight)
            exponent = np.full(frame.rows, 2.0) if power is None else doubles(power.evaluate(frame))
            call.fail(frame, ~(exponent > 0), "parameter p must be positive")
            sides = [_present(column.items, kind) for column, kind in zip((one, other), kinds, strict=True)]
            inner = frame.subset(one.owners)
            for variable, (values, _) in zip(variables, sides, strict=True):
                inner.set(variable.slot or 0, values)
            present = sides[0][1] & sides[1][1]
            parts = increment(doubles(similarity.evaluate(inner)), exponent[one.owners])
            return Scalars(_total(one, np.where(present, parts, 0.0), present, given, exponent))

        return Node(DOUBLE, evaluate)

    def _total(column: Lists, parts: Floats, present: Bools, given: Floats, exponent: Floats) -> Floats:
        rows, owners = column.rows, column.owners
        whole = np.bincount(owners, weights=given, minlength=rows)
        seen = np.bincount(owners, weights=given * present, minlength=rows)
        if increment is _largest:
            tally: Floats = np.zeros(rows)
            np.maximum.at(tally, owners, parts)
        else:
            tally = np.asarray(np.bincount(owners, weights=parts, minlength=rows), np.float64)
        return finish(np.where(seen == 0, np.nan, tally * whole / seen), exponent)

    return compile_call


def _checked(call: Call, frame: Frame, pair: list[Column], weight: Column | None) -> tuple[Lists, Lists, Floats]:
    """Two arrays of equal length, and the weights of their items; rows with unequal lengths fail and become empty."""
    one, other = pair
    if not isinstance(one, Lists) or not isinstance(other, Lists):
        raise TypeError("not columns of arrays")
    wrong = one.lengths != other.lengths
    if isinstance(weight, Lists):
        wrong = wrong | (weight.lengths != one.lengths)
    if wrong.any():
        call.fail(frame, wrong, _DIFFERENT)
        lengths = np.where(wrong, 0, one.lengths)
        one, other = one.slices(one.starts, lengths), other.slices(other.starts, lengths)
        weight = weight.slices(weight.starts, lengths) if isinstance(weight, Lists) else None
    given = doubles(weight.items) if isinstance(weight, Lists) else np.ones(one.items.rows)
    return one, other, given


def _largest(values: Floats, power: Floats) -> Floats:
    del power
    return values


def _root(total: Floats, power: Floats) -> Floats:
    return np.asarray(np.power(total, 1 / power), np.float64)


def _simple_euclidean(site: Site, one: Lists, other: Lists) -> Column:
    first, second, _ = _checked(site.call, site.frame, [one, other], None)
    squares = np.square(doubles(first.items) - doubles(second.items))
    return Scalars(np.sqrt(np.bincount(first.owners, weights=squares, minlength=first.rows)))


def _binary(decide: Callable[[Any, Any, Any], Any]) -> Callable[[Call], Node]:
    """A similarity of boolean arrays, given the numbers of pairs that are both true, both false, and different."""

    def compute(site: Site, one: Lists, other: Lists) -> Column:
        first, second, _ = _checked(site.call, site.frame, [one, other], None)
        x, y = (part.items.values if isinstance(part.items, Scalars) else np.zeros(0, bool) for part in (first, second))
        counts = [np.bincount(first.owners[pairs], minlength=first.rows) for pairs in (x & y, ~x & ~y, x ^ y)]
        return Scalars(np.asarray(decide(*counts), np.float64))

    return of_columns(compute, Signature((Array(BOOLEAN), Array(BOOLEAN)), DOUBLE))


_SIMILARITY = Signature((DOUBLE, DOUBLE), DOUBLE)
FUNCTIONS: dict[str, Callable[[Call], Node]] = {
    "metric.absDiff": of_values(lambda x, y: np.abs(x - y), _SIMILARITY),
    "metric.gaussianSimilarity": of_values(
        lambda x, y, sigma: np.exp(-np.log(2) * np.square(x - y) / np.square(sigma)),
        Signature((DOUBLE, DOUBLE, DOUBLE), DOUBLE),
    ),
    "metric.simpleEuclidean": of_columns(_simple_euclidean, Signature((NUMBER_ARRAY, NUMBER_ARRAY), DOUBLE)),
    "metric.euclidean": _metric(lambda x, _: x**2, lambda total, _: np.sqrt(total)),
    "metric.squaredEuclidean": _metric(lambda x, _: x**2, lambda total, _: total),
    "metric.chebyshev": _metric(_largest, lambda total, _: total),
    "metric.taxicab": _metric(lambda x, _: x, lambda total, _: total),
    "metric.minkowski": _metric(np.power, _root, with_power=True),
    "metric.simpleMatching": _binary(lambda both, neither, differ: (both + neither) / (both + neither + differ)),
    "metric.jaccard": _binary(lambda both, neither, differ: both / (both + differ)),
    "metric.tanimoto": _binary(lambda both, neither, differ: (both + neither) / (both + neither + 2 * differ)),
}
