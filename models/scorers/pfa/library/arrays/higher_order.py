"""Functions that apply a function to the items of arrays.

The items of an array that is known in advance, such as the trees of a forest, are compiled one by one. Those of other
arrays are computed together, as the rows of a frame of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from models.scorers.pfa.avro_types import BOOLEAN, INT, Array, Type
from models.scorers.pfa.columns import Bools, Column, Lists, Places, Scalars, concatenated, filler, merged
from models.scorers.pfa.frames import Frame
from models.scorers.pfa.library.calls import Call
from models.scorers.pfa.library.trees.flat_trees import walked_together
from models.scorers.pfa.nodes import Node, bound, coerced, constant_node, variable_node
from models.scorers.pfa.special_forms import stacked

# A fold evaluates its function once per place in the arrays.
MOST_FOLDED = 10_000


def _lists(column: Column) -> Lists:
    if not isinstance(column, Lists):
        raise TypeError("not a column of arrays")
    return column


def _map(with_index: bool) -> Callable[[Call], Node]:
    def compile_call(call: Call) -> Node:
        call.check_count(2)
        function, known = call.function(1), call.known_items(0)
        if known:
            index = [[constant_node(INT, place)] if with_index else [] for place in range(len(known))]
            results = [function.apply([*one, item]) for one, item in zip(index, known, strict=True)]
            kind = results[0].type
            together = walked_together(results) if all(one.type == kind for one in results) else None
            return together or stacked([coerced(one, kind, call.element) for one in results], kind, call.element)
        return _computed(call, [call.column_node(0)], with_index)

    return compile_call


def _zipmap(call: Call) -> Node:
    call.check_count(3, 4, 5)
    arrays = len(call.arguments) - 1
    function, known = call.function(arrays), [call.known_items(place) for place in range(arrays)]
    lists = [one for one in known if one]
    if len(lists) == arrays:
        call.refuse_unless(len({len(one) for one in lists}) == 1, "misaligned arrays")
        results = [function.apply(list(items)) for items in zip(*lists, strict=True)]
        return stacked([coerced(one, results[0].type, call.element) for one in results], results[0].type, call.element)
    return _computed(call, [call.column_node(place) for place in range(arrays)], False)


def _computed(call: Call, arrays: Sequence[Node], with_index: bool) -> Node:
    """Applies a function to the items of arrays that have the same lengths."""
    variables = [variable_node(call.items_type(node)) for node in arrays]
    index = [variable_node(INT)] if with_index else []
    body = call.function(len(call.arguments) - 1).apply([*index, *variables])

    def evaluate(frame: Frame) -> Column:
        columns = [_lists(node.evaluate(frame)) for node in arrays]
        columns = _aligned(call, frame, columns, [call.items_type(node) for node in arrays])
        inner = frame.subset(columns[0].owners)
        for variable, column in zip(variables, columns, strict=True):
            inner.set(variable.slot or 0, column.items)
        for variable in index:
            inner.set(variable.slot or 0, Scalars(columns[0].positions.astype(np.int64)))
        return Lists(columns[0].lengths, body.evaluate(inner))

    return Node(Array(body.type), evaluate)


def _aligned(call: Call, frame: Frame, columns: list[Lists], kinds: list[Type]) -> list[Lists]:
    """The columns; rows whose arrays differ in length fail, and their arrays become empty."""
    wrong: Bools = np.any([one.lengths != columns[0].lengths for one in columns], axis=0)
    if not wrong.any():
        return columns
    call.fail(frame, wrong, "misaligned arrays")
    return [_emptied(one, wrong) for one in columns]


def _emptied(column: Lists, rows: Bools) -> Lists:
    return column.slices(column.starts, np.where(rows, 0, column.lengths))


def _filter(call: Call) -> Node:
    call.check_count(2)
    array, verdict = call.column_node(0), _predicate(call)

    def evaluate(frame: Frame) -> Column:
        column = _lists(array.evaluate(frame))
        kept = verdict(frame, column)
        lengths = np.bincount(column.owners[kept], minlength=frame.rows)
        return Lists(lengths, column.items.take(np.flatnonzero(kept)))

    return Node(array.type, evaluate)


def _predicate(call: Call) -> Callable[[Frame, Lists], Bools]:
    """Evaluates a predicate for each item."""
    variable = variable_node(call.items_type(call.node(0)))
    body = coerced(call.function(1).apply([variable]), BOOLEAN, call.element)

    def verdict(frame: Frame, column: Lists) -> Bools:
        inner = frame.subset(column.owners)
        inner.set(variable.slot or 0, column.items)
        found = body.evaluate(inner)
        return found.values if isinstance(found, Scalars) else np.zeros(inner.rows, bool)

    return verdict


def _counting(decide: Callable[[Places, Places], Places | Bools], gives: Type) -> Callable[[Call], Node]:
    """A function of the number of items, and of the number that satisfies a predicate."""

    def compile_call(call: Call) -> Node:
        call.check_count(2)
        array, verdict = call.column_node(0), _predicate(call)

        def evaluate(frame: Frame) -> Column:
            column = _lists(array.evaluate(frame))
            satisfied = np.bincount(column.owners[verdict(frame, column)], minlength=frame.rows)
            return Scalars(decide(column.lengths, satisfied))

        return Node(gives, evaluate)

    return compile_call


def _fold(with_zero: bool) -> Callable[[Call], Node]:
    def compile_call(call: Call) -> Node:
        call.check_count(3 if with_zero else 2)
        function, known = call.function(2 if with_zero else 1), call.known_items(0)
        if known:
            kind = call.items_type(call.node(0))
            start, rest = (call.node(1), known) if with_zero else (known[0], known[1:])
            for item in rest:
                pair = {"tally": start, "item": item}
                kind = start.type
                start = bound(pair, call.element, lambda two: function.apply([two["tally"], two["item"]]))
                call.refuse_unless(start.type == kind, f"its function gives {start.type} for {kind}")
            return start
        return _computed_fold(call, with_zero)

    return compile_call


def _computed_fold(call: Call, with_zero: bool) -> Node:
    array = call.column_node(0)
    items = call.items_type(array)
    zero = call.column_node(1) if with_zero else None
    tally, item = variable_node(zero.type if zero is not None else items), variable_node(items)
    body = coerced(call.function(len(call.arguments) - 1).apply([tally, item]), tally.type, call.element)

    def evaluate(frame: Frame) -> Column:
        column = _lists(array.evaluate(frame))
        longest = int(column.lengths.max(initial=0))
        frame.fail(column.lengths > MOST_FOLDED, f"{call.name}: the array has more than {MOST_FOLDED} items")
        if zero is None:
            call.fail(frame, column.lengths == 0, "empty array")
        return _folded(frame, column, zero, min(longest, MOST_FOLDED))

    def _folded(frame: Frame, column: Lists, zero: Node | None, longest: int) -> Column:
        padded = concatenated([column.items, filler(items, 1)])
        first = np.where(column.lengths > 0, column.starts, padded.rows - 1)
        result = padded.take(first) if zero is None else zero.evaluate(frame)
        for place in range(zero is None, longest):
            rows = np.flatnonzero(column.lengths > place)
            inner, every = frame.subset(rows), len(rows) == frame.rows
            inner.set(tally.slot or 0, result if every else result.take(rows))
            inner.set(item.slot or 0, column.items.take(column.starts[rows] + place))
            others = np.flatnonzero(column.lengths <= place)
            found = body.evaluate(inner)
            result = found if every else merged([(rows, found), (others, result.take(others))])
        return result

    return Node(tally.type, evaluate)


FUNCTIONS: dict[str, Callable[[Call], Node]] = {
    "a.map": _map(False),
    "a.mapWithIndex": _map(True),
    "a.zipmap": _zipmap,
    "a.filter": _filter,
    "a.count": _counting(lambda lengths, satisfied: satisfied, INT),
    "a.any": _counting(lambda lengths, satisfied: satisfied > 0, BOOLEAN),
    "a.all": _counting(lambda lengths, satisfied: satisfied == lengths, BOOLEAN),
    "a.fold": _fold(True),
    "a.reduce": _fold(False),
}
