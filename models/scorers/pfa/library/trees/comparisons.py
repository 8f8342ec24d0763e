"""The tests of tree nodes, which compare a field of the datum with a known value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.scorers.pfa.avro_types import (
    BOOLEAN,
    NULL,
    NUMBERS,
    STRING,
    Array,
    Enum,
    Record,
    Type,
    Union,
    is_nullable,
    without_null,
)
from models.scorers.pfa.columns import Bools, Column, Nulls, Scalars, Tagged
from models.scorers.pfa.conditions import null_rows
from models.scorers.pfa.constants import Member, converted
from models.scorers.pfa.frames import Frame
from models.scorers.pfa.library.calls import Call
from models.scorers.pfa.nodes import Node, coerced
from models.scorers.pfa.paths import part

TRUTH = Union((BOOLEAN, NULL))
_ORDERS: dict[str, Callable[[Any, Any], Any]] = {
    "<": lambda x, y: x < y,
    "<=": lambda x, y: x <= y,
    ">": lambda x, y: x > y,
    ">=": lambda x, y: x >= y,
    "==": lambda x, y: x == y,
    "!=": lambda x, y: x != y,
}


@dataclass(frozen=True)
class Comparison:
    """Reads the comparison of a tree node.

    Attributes:
      datum: the node of the record.
      field: the name of the compared field.
      kind: the type of the field, without null.
      operator: an operator of the standard.
      value: a scalar, or a tuple of them.
      whole: the type of the field, including null.
    """

    datum: Node
    field: str
    kind: Type
    operator: str
    value: Any
    whole: Type

    def unknown(self, column: Column) -> Bools:
        """Which values of the field are null."""
        return null_rows(column, self.whole)

    def of(self, column: Column) -> Bools:
        """Whether the comparison is true for each value of the field; arbitrary for null."""
        if self.operator in ("alwaysTrue", "alwaysFalse"):
            return np.full(column.rows, self.operator == "alwaysTrue")
        if self.operator in ("isMissing", "notMissing"):
            return np.asarray(self.unknown(column) == (self.operator == "isMissing"), np.bool_)
        if isinstance(column, Tagged) and isinstance(self.whole, Union):
            column = column.members[1 - self.whole.members.index(NULL)]
        values = column.values if isinstance(column, Scalars) else np.zeros(column.rows)
        if values.dtype == np.float32:  # to which numpy would round the value
            values = values.astype(np.float64)
        if self.operator in _ORDERS:
            return np.asarray(_ORDERS[self.operator](values, self.value), np.bool_)
        if values.dtype == object:
            found = np.array([one in self.value for one in values.tolist()], bool)
        else:
            found = np.isin(values, np.array(self.value))
        return np.asarray(found == (self.operator == "in"), np.bool_)

    def evaluate(self, frame: Frame) -> Column:
        """The values of the field."""
        return part(self.datum.evaluate(frame), self.field)


def read_comparison(call: Call, datum: Node, node_type: Type, value: Any, may_be_null: bool) -> Comparison:
    """Reads the comparison of a tree node.

    Args:
      call: the call of the function that compares.
      datum: the node of the record.
      node_type: the type of the tree node, a record with field, operator and value.
      value: the tree node.
      may_be_null: whether the test has an outcome of its own for null.
    """
    if not isinstance(datum.type, Record):
        call.element.refuse(f"{call.name}: the datum must be a record, not a value of the type {datum.type}")
    if not isinstance(node_type, Record) or not {"field", "operator", "value"} <= node_type.fields.keys():
        call.element.refuse(f"{call.name}: a tree node must be a record with field, operator and value")
    name, operator = value["field"], value["operator"]
    if name not in datum.type.fields:
        call.element.refuse(f"{call.name}: the type {datum.type} has no field {name!r}")
    whole = datum.type.fields[name]
    nullable = is_nullable(whole)
    kind = without_null(whole) if nullable and isinstance(whole, Union) else whole
    compares = operator in (*_ORDERS, "in", "notIn")
    known = (
        compares
        or operator in ("alwaysTrue", "alwaysFalse")
        or (not may_be_null and operator in ("isMissing", "notMissing"))
    )
    call.refuse_unless(known, f"operator {str(operator)[:50]!r} is not supported")
    call.refuse_unless(
        may_be_null or not nullable or not compares, f"field {name!r} may be null, so missingTest is needed"
    )
    compared = _compared(call, name, kind, operator, value["value"], node_type.fields["value"]) if compares else None
    return Comparison(datum, name, kind, operator, compared, whole)


def _compared(call: Call, name: str, kind: Type, operator: str, value: Any, given: Type) -> Any:
    """The value with which the field is compared."""
    if isinstance(given, Union) and isinstance(value, Member):
        given, value = given.members[value.place], value.value
    several = operator in ("in", "notIn")
    if several and isinstance(given, Array):
        found = given.items
    else:
        call.refuse_unless(not several, f"field {name!r}: operator {operator!r} needs an array")
        found = given
    fine = (kind in NUMBERS and found in NUMBERS) or (kind == STRING == found) or kind == BOOLEAN == found
    if isinstance(kind, Enum):
        fine = found in (STRING, kind) and operator in ("==", "!=", "in", "notIn")
    call.refuse_unless(fine, f"field {name!r} of the type {kind} is compared with a value of the type {found}")
    return converted(value, given, given)


def _arguments(call: Call) -> tuple[Node, Type, Any]:
    call.check_count(2)
    kind, value = call.constant(1)
    return call.column_node(0), kind, value


def _simple_test(call: Call) -> Node:
    test = read_comparison(call, *_arguments(call), may_be_null=False)
    return Node(BOOLEAN, lambda frame: Scalars(test.of(test.evaluate(frame))), test=test)


def _missing_test(call: Call) -> Node:
    test = read_comparison(call, *_arguments(call), may_be_null=True)

    def evaluate(frame: Frame) -> Column:
        column = test.evaluate(frame)
        return Tagged(test.unknown(column).astype(np.int64), (Scalars(test.of(column)), Nulls(frame.rows)))

    return Node(TRUTH, evaluate, test=test)


def _compound_test(call: Call) -> Node:
    call.check_count(4)
    datum, (_, operator), known = call.node(0), call.constant(1), call.known_items(2)
    call.refuse_unless(operator in ("and", "or", "xor"), f"operator {str(operator)[:50]!r} is not supported")
    call.refuse_unless(known is not None, "argument 3 must be a cell or a literal")
    tests = [coerced(call.function(3).apply([datum, one]), BOOLEAN, call.element) for one in known or ()]
    combine = {"and": np.logical_and, "or": np.logical_or, "xor": np.logical_xor}[operator]

    def evaluate(frame: Frame) -> Column:
        result = np.full(frame.rows, operator == "and")
        for test in tests:
            column = test.evaluate(frame)
            result = combine(result, column.values if isinstance(column, Scalars) else False)
        return Scalars(result)

    return Node(BOOLEAN, evaluate)


def _surrogate_test(call: Call) -> Node:
    """The result of the first test that is not null."""
    call.check_count(3)
    datum, known = call.node(0), call.known_items(1)
    call.refuse_unless(bool(known), "argument 2 must be a cell or a literal that contains tests")
    tests = [coerced(call.function(2).apply([datum, one]), TRUTH, call.element) for one in known or ()]

    def evaluate(frame: Frame) -> Column:
        result, waiting = np.zeros(frame.rows, bool), np.ones(frame.rows, bool)
        for test in tests:
            column = test.evaluate(frame)
            true, known_rows = truth_of(column)
            result = np.where(waiting & known_rows, true, result)
            waiting &= ~known_rows
        call.fail(frame, waiting, "no successful surrogate")
        return Scalars(result)

    return Node(BOOLEAN, evaluate)


def truth_of(column: Column) -> tuple[Bools, Bools]:
    """Which values of a column of type TRUTH are true, and which are not null."""
    if not isinstance(column, Tagged) or not isinstance(column.members[0], Scalars):
        raise TypeError("not a column of booleans or null")
    return column.members[0].values, np.asarray(column.tags == 0, np.bool_)


FUNCTIONS: dict[str, Callable[[Call], Node]] = {
    "model.tree.simpleTest": _simple_test,
    "model.tree.missingTest": _missing_test,
    "model.tree.compoundTest": _compound_test,
    "model.tree.surrogateTest": _surrogate_test,
}
