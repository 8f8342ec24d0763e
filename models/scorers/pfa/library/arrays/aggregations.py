"""Functions that reduce the items of an array to one value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from models.scorers.pfa.avro_types import BOOLEAN, DOUBLE, INT, LONG, NUMBERS, STRING, Array
from models.scorers.pfa.columns import Column, Lists, Scalars
from models.scorers.pfa.library.calls import Call, Signature, Site, Wild, of_columns
from models.scorers.pfa.nodes import Node

_NUMBER = Wild("A", NUMBERS)
_SCALAR = Wild("A", (BOOLEAN, STRING, *NUMBERS))
_NUMBERS = Array(_NUMBER)  # type: ignore[arg-type]
_SCALARS = Array(_SCALAR)  # type: ignore[arg-type]
_EMPTY = "empty array"


def values_of(array: Lists) -> Any:
    """The items of all rows, which must be scalars."""
    if not isinstance(array.items, Scalars):
        raise TypeError("not a column of arrays of scalars")
    return array.items.values


def sums(array: Lists) -> Any:
    """The sum of the items of each row, in their order."""
    values, lengths = values_of(array), array.lengths
    if len(lengths) and (lengths == lengths[0]).all():
        table = values.reshape(len(lengths), lengths[0])
        total = np.zeros(len(lengths), values.dtype)
        for place in range(lengths[0]):  # in the order of a loop, because pairwise sums round differently
            total = total + table[:, place]
        return total
    if values.dtype == np.int64:
        total = np.zeros(len(lengths), np.int64)
        np.add.at(total, array.owners, values)
        return total
    return np.bincount(array.owners, weights=values, minlength=len(lengths)).astype(values.dtype)


def _sum(site: Site, array: Lists) -> Column:
    total = sums(array)
    if site.gives in (INT, LONG):
        floats = sums(Lists(array.lengths, Scalars(values_of(array).astype(np.float64))))
        return site.in_range(total, np.abs(floats) >= 2.0**63)
    return Scalars(total)


def _product(site: Site, array: Lists) -> Column:
    del site
    result = np.ones(array.rows)
    np.multiply.at(result, array.owners, values_of(array))
    return Scalars(result)


def _mean(site: Site, array: Lists) -> Column:
    del site
    return Scalars(sums(array) / array.lengths)


def _best(array: Lists, smallest: bool) -> Any:
    """The place among all items of the first smallest or largest item of each row that is not empty."""
    values, owners = values_of(array), array.owners
    if values.dtype == object:
        _, values = np.unique(values.astype(str), return_inverse=True)
    keys = values.astype(np.int64) if values.dtype == bool else values
    order = np.lexsort((array.positions, keys if smallest else -keys, owners))
    starts = array.starts[array.lengths > 0]
    result = np.zeros(array.rows, np.intp)
    result[array.lengths > 0] = order[starts]
    return result


def _extreme(smallest: bool, place: bool) -> Callable[..., Column]:
    def compute(site: Site, array: Lists) -> Column:
        site.fail(array.lengths == 0, _EMPTY)
        best = _best(array, smallest)
        if place:
            return Scalars(np.where(array.lengths > 0, best - array.starts, 0))
        values = values_of(array)
        padded = np.concatenate([values, np.zeros(1, values.dtype)])
        return Scalars(padded[np.where(array.lengths > 0, best, len(values))])

    return compute


def _sorted(array: Lists) -> tuple[Any, Any]:
    """The items sorted within each row, where numbers stand for texts in the same order."""
    values = values_of(array)
    keys = np.unique(values.astype(str), return_inverse=True)[1] if values.dtype == object else values
    return values[np.lexsort((keys, array.owners))], keys


def _median(site: Site, array: Lists) -> Column:
    """The middle item; of two middle items, the mean for numbers, otherwise the lower one."""
    site.fail(array.lengths == 0, _EMPTY)
    ordered = np.concatenate([_sorted(array)[0], np.zeros(1, values_of(array).dtype)])
    half, even = array.lengths // 2, array.lengths % 2 == 0
    upper = ordered[np.where(array.lengths > 0, array.starts + half, len(ordered) - 1)]
    lower = ordered[np.where(array.lengths > 0, array.starts + half - 1, len(ordered) - 1)]
    between = (lower + upper) / 2 if ordered.dtype.kind == "f" else lower
    return Scalars(np.where(even, between, upper))


def _mode(site: Site, array: Lists) -> Column:
    """The most frequent item; the median if there are several."""
    site.fail(array.lengths == 0, _EMPTY)
    values, owners = values_of(array), array.owners
    _, keys = _sorted(array)
    _, codes = np.unique(keys, return_inverse=True)
    _, first, counts = np.unique(owners * (len(codes) + 1) + codes, return_index=True, return_counts=True)
    most = np.zeros(array.rows, np.int64)
    np.maximum.at(most, owners[first], counts)
    best = first[counts == most[owners[first]]]
    lengths = np.bincount(owners[best], minlength=array.rows)
    return _median(site, Lists(lengths, Scalars(values[best])))


def _log_sum_exp(site: Site, array: Lists) -> Column:
    """ln(sum(exp(x))) without overflow; NaN without items."""
    del site
    values, owners = values_of(array), array.owners
    largest = np.full(array.rows, -np.inf)
    np.maximum.at(largest, owners, values)
    shift = np.where(np.isfinite(largest), largest, 0.0)
    total = np.bincount(owners, weights=np.exp(values - shift[owners]), minlength=array.rows)
    return Scalars(np.where(array.lengths == 0, np.nan, np.log(total) + shift))


FUNCTIONS: dict[str, Callable[[Call], Node]] = {
    "a.sum": of_columns(_sum, Signature((_NUMBERS,), _NUMBER)),
    "a.product": of_columns(_product, Signature((Array(DOUBLE),), DOUBLE)),
    "a.mean": of_columns(_mean, Signature((Array(DOUBLE),), DOUBLE)),
    "a.max": of_columns(_extreme(False, False), Signature((_SCALARS,), _SCALAR)),
    "a.min": of_columns(_extreme(True, False), Signature((_SCALARS,), _SCALAR)),
    "a.argmax": of_columns(_extreme(False, True), Signature((_SCALARS,), INT)),
    "a.argmin": of_columns(_extreme(True, True), Signature((_SCALARS,), INT)),
    "a.mode": of_columns(_mode, Signature((_SCALARS,), _SCALAR)),
    "a.median": of_columns(_median, Signature((_SCALARS,), _SCALAR)),
    "a.logsumexp": of_columns(_log_sum_exp, Signature((Array(DOUBLE),), DOUBLE)),
}
