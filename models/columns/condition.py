"""Conditions over the fields of records, which pick a segment of a route.

A condition is an expression in a small subset of Python: fields by name (`customer.country` for a field of a nested
record), numbers, texts, True, False and None, comparisons, `in` with a list, `is None`, `and`, `or`, `not` and
parentheses. It is evaluated on whole columns. A comparison with a missing value is false, so a record always either
meets a condition or fails it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache, reduce

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from models.errors import ConditionError

Booleans = npt.NDArray[np.bool_]

_COMPARISONS = {
    ast.Eq: pc.equal,
    ast.NotEq: pc.not_equal,
    ast.Lt: pc.less,
    ast.LtE: pc.less_equal,
    ast.Gt: pc.greater,
    ast.GtE: pc.greater_equal,
}
_LENGTH_LIMIT = 2_000
_DEPTH_LIMIT = 50


class Condition:
    """A parsed condition.

    Args:
      text: the condition as written.
      tree: its syntax tree, checked by `parse_condition`.
    """

    def __init__(self, text: str, tree: ast.expr) -> None:
        self.text = text
        self._tree = tree

    @property
    def fields(self) -> tuple[str, ...]:
        """The top-level fields that the condition reads, sorted."""
        names = {node.id for node in ast.walk(self._tree) if isinstance(node, ast.Name)}
        return tuple(sorted(names))

    def check(self, known: pa.Schema) -> None:
        """Checks that the condition applies to records with these fields; raises ConditionError like `holds`."""
        self.holds(pa.RecordBatch.from_pylist([], known))

    def holds(self, columns: pa.RecordBatch) -> Booleans:
        """Whether each record meets the condition: bool [records].

        Raises:
          ConditionError: a field does not exist, or cannot be compared as the condition says.
        """
        try:
            found = _truth(self._tree, columns)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError, pa.ArrowKeyError) as error:
            raise ConditionError(f"condition {self.text!r} does not fit the records: {error}") from error
        except ConditionError as error:
            raise ConditionError(f"condition {self.text!r}: {error}") from error
        if isinstance(found, pa.Scalar):
            return np.full(columns.num_rows, bool(found.as_py()))
        result: Booleans = found.to_numpy(zero_copy_only=False)
        return result


@cache
def parse_condition(text: str) -> Condition:
    """Parses a condition.

    Raises:
      ConditionError: the text does not follow the syntax of conditions; the message names the offending part.

    >>> parse_condition("amount > 1000 and country in ['DE', 'FR']").fields
    ('amount', 'country')
    >>> parse_condition("open('file')")
    Traceback (most recent call last):
        ...
    models.errors.ConditionError: condition "open('file')": ... is not allowed; ...
    """
    if len(text) > _LENGTH_LIMIT:
        raise ConditionError(f"a condition of {len(text)} characters is too long; the limit is {_LENGTH_LIMIT}")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ConditionError(f"condition {text!r} cannot be read: {error}") from error
    try:
        _check(tree, _DEPTH_LIMIT)
    except ConditionError as error:
        raise ConditionError(f"condition {text!r}: {error}") from error
    return Condition(text, tree)


# --- The syntax.


def _check(node: ast.expr, depth: int) -> None:
    """Raises ConditionError unless `node` has a truth value and uses only the allowed syntax."""
    if not depth:
        raise ConditionError("it is nested too deeply")
    if isinstance(node, ast.BoolOp):
        for value in node.values:
            _check(value, depth - 1)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        _check(node.operand, depth - 1)
    elif isinstance(node, ast.Compare):
        for left, operator, right in _comparisons(node):
            _check_comparison(left, operator, right)
    elif not _is_field(node) and not (isinstance(node, ast.Constant) and isinstance(node.value, bool)):
        raise _not_allowed(node)


def _check_comparison(left: ast.expr, operator: ast.cmpop, right: ast.expr) -> None:
    _check_operand(left)
    if isinstance(operator, (ast.In, ast.NotIn)):
        if not isinstance(right, (ast.List, ast.Tuple, ast.Set)):
            raise ConditionError(f"`in` needs a list of values, not {ast.unparse(right)!r}")
        for element in right.elts:
            if not _is_literal(element):
                raise _not_allowed(element)
    elif isinstance(operator, (ast.Is, ast.IsNot)):
        if not (isinstance(right, ast.Constant) and right.value is None):
            raise ConditionError(f"`is` compares with None only, not with {ast.unparse(right)!r}")
    else:
        _check_operand(right)


def _check_operand(node: ast.expr) -> None:
    if not _is_field(node) and not _is_literal(node):
        raise _not_allowed(node)


def _is_field(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) or (isinstance(node, ast.Attribute) and _is_field(node.value))


def _is_literal(node: ast.expr) -> bool:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return isinstance(node.operand, ast.Constant) and type(node.operand.value) in (int, float)
    return isinstance(node, ast.Constant) and isinstance(node.value, (bool, int, float, str))


def _not_allowed(node: ast.expr) -> ConditionError:
    return ConditionError(
        f"{ast.unparse(node)!r} is not allowed; a condition consists of comparisons of fields with values, "
        "and, or, not, in, is None"
    )


def _comparisons(node: ast.Compare) -> Iterator[tuple[ast.expr, ast.cmpop, ast.expr]]:
    yield from zip([node.left, *node.comparators], node.ops, node.comparators, strict=False)


# --- The evaluation.


def _truth(node: ast.expr, columns: pa.RecordBatch) -> pa.Array | pa.Scalar:
    """The truth value of each record, without nulls; a scalar if it is the same for all."""
    if isinstance(node, ast.BoolOp):
        combine = pc.and_ if isinstance(node.op, ast.And) else pc.or_
        return reduce(combine, (_truth(value, columns) for value in node.values))
    if isinstance(node, ast.UnaryOp):
        return pc.invert(_truth(node.operand, columns))
    if isinstance(node, ast.Compare):
        return reduce(pc.and_, (_compare(*one, columns) for one in _comparisons(node)))
    value = _value(node, columns)
    if not pa.types.is_boolean(value.type):
        raise ConditionError(f"{ast.unparse(node)!r} is {value.type}, not true or false; compare it with a value")
    return _without_nulls(value)


def _compare(left: ast.expr, operator: ast.cmpop, right: ast.expr, columns: pa.RecordBatch) -> pa.Array | pa.Scalar:
    value = _value(left, columns)
    if isinstance(operator, (ast.Is, ast.IsNot)):
        missing = pc.is_null(value)
        return missing if isinstance(operator, ast.Is) else pc.invert(missing)
    if isinstance(operator, (ast.In, ast.NotIn)) and isinstance(right, (ast.List, ast.Tuple, ast.Set)):
        equal = (_equal(value, _value(element, columns)) for element in right.elts)
        found = reduce(pc.or_, equal, pa.scalar(False))
        if isinstance(operator, ast.In):
            return found
        return pc.and_(pc.invert(found), pc.is_valid(value))
    return _without_nulls(_COMPARISONS[type(operator)](*_alike(value, _value(right, columns))))


def _equal(value: pa.Array, other: pa.Scalar) -> pa.Array:
    return _without_nulls(pc.equal(*_alike(value, other)))


def _alike(
    left: pa.Array | pa.Scalar, right: pa.Array | pa.Scalar
) -> tuple[pa.Array | pa.Scalar, pa.Array | pa.Scalar]:
    """Returns both sides if they are of the same kind; otherwise raises ConditionError.

    Arrow would parse a text as a number or a time if it is compared with one.
    """
    if _kind(left.type) != _kind(right.type):
        raise ConditionError(f"{left.type} cannot be compared with {right.type}")
    return left, right


def _kind(kind: pa.DataType) -> str:
    if pa.types.is_boolean(kind):
        return "boolean"
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return "text"
    if pa.types.is_dictionary(kind):
        return _kind(kind.value_type)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return "number"
    return str(kind)


def _value(node: ast.expr, columns: pa.RecordBatch) -> pa.Array | pa.Scalar:
    if isinstance(node, ast.Name):
        if node.id not in columns.schema.names:
            known = ", ".join(columns.schema.names)
            raise ConditionError(f"the records have no field {node.id!r}; they have {known}")
        column = columns.column(columns.schema.get_field_index(node.id))
        return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
    if isinstance(node, ast.Attribute):
        whole = _value(node.value, columns)
        if not pa.types.is_struct(whole.type) or whole.type.get_field_index(node.attr) < 0:
            raise ConditionError(f"{ast.unparse(node.value)!r} has no field {node.attr!r}")
        return pc.struct_field(whole, node.attr)
    return pa.scalar(ast.literal_eval(node))


def _without_nulls(found: pa.Array | pa.Scalar) -> pa.Array | pa.Scalar:
    return pc.fill_null(found, False)
