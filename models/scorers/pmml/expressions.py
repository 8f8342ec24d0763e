"""Expressions and derived fields: how one column is computed from others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.scorers.pmml.columns import (
    BOOLEAN,
    DATA_TYPES,
    DOUBLE,
    FLOAT,
    INTEGER,
    STRING,
    Column,
    Derived,
    Expression,
    Frame,
    Scope,
    Value,
    constant,
    filled,
    literal,
)
from models.scorers.pmml.elements import Element
from models.scorers.pmml.functions import FUNCTIONS, Function, called, result_type
from models.scorers.pmml.mappings import MAPPINGS

EXPRESSIONS = "Constant FieldRef NormContinuous NormDiscrete Discretize MapValues Apply"


@dataclass(frozen=True)
class Constant:
    """The same value for each row; None for a missing one."""

    data_type: str
    value: Value | None

    def evaluate(self, frame: Frame) -> Column:
        """The values for all rows."""
        return constant(self.value, frame.rows, self.data_type == STRING)


@dataclass(frozen=True)
class Reference:
    """The value of a field, with a substitute for missing ones."""

    data_type: str
    field: str
    if_missing: Value | None

    def evaluate(self, frame: Frame) -> Column:
        """The values for all rows."""
        return filled(frame.column(self.field), self.if_missing)


@dataclass(frozen=True)
class Cast:
    """The values of an expression, converted to another type."""

    data_type: str
    inner: Expression

    def evaluate(self, frame: Frame) -> Column:
        """The values for all rows; rejects rows whose number is not whole, if it has to be."""
        return cast_column(self.inner.evaluate(frame), self.inner.data_type, self.data_type, frame)


@dataclass(frozen=True)
class Call:
    """A function of the standard, applied to expressions."""

    data_type: str
    function: Function
    arguments: tuple[Expression, ...]
    if_missing: Value | None
    default: Value | None
    as_missing: bool

    def evaluate(self, frame: Frame) -> Column:
        """The values for all rows; rejects rows whose arguments the function is not defined for."""
        arguments = [argument.evaluate(frame) for argument in self.arguments]
        result, failed = called(self.function, arguments)
        if self.as_missing:
            failed = np.zeros(frame.rows, bool)
        frame.reject(failed)
        if self.if_missing is not None:
            values = result.values.copy()
            values[np.any([argument.missing() for argument in arguments], axis=0)] = self.if_missing
            result = Column(values)
        return filled(result, self.default)


@dataclass(frozen=True)
class MissingCall:
    """`isMissing` and its opposite."""

    argument: Expression
    wanted: bool
    data_type: str = BOOLEAN

    def evaluate(self, frame: Frame) -> Column:
        """The values for all rows."""
        return Column((self.argument.evaluate(frame).missing() == self.wanted).astype(np.float64))


@dataclass(frozen=True)
class If:
    """One of two expressions, each evaluated only for the rows that need it; missing if the condition is missing."""

    data_type: str
    condition: Expression
    branches: tuple[Expression, ...]
    default: Value | None

    def evaluate(self, frame: Frame) -> Column:
        """The values for all rows."""
        condition = self.condition.evaluate(frame).values
        values = constant(None, frame.rows, self.data_type == STRING).values
        for wanted, branch in zip((1.0, 0.0), self.branches, strict=False):
            places = np.flatnonzero(condition == wanted)
            part = frame.subset(places)
            values[places] = branch.evaluate(part).values
            frame.invalid[places] |= part.invalid
        return filled(Column(values), self.default)


def cast_column(column: Column, source: str, target: str, frame: Frame) -> Column:
    """Converts the values to another type; rejects rows whose number is not whole, if it has to be."""
    if target == FLOAT:
        with np.errstate(over="ignore"):
            return Column(column.values.astype(np.float32).astype(np.float64))
    if target == INTEGER and source in (FLOAT, DOUBLE):
        frame.reject(~column.missing() & (column.values != np.floor(column.values)))
    if target == STRING and source == INTEGER:
        texts = np.empty(len(column.values), object)
        texts[:] = [None if value != value else str(int(value)) for value in column.values.tolist()]
        return Column(texts)
    return column


def check_cast(source: str, target: str, element: Element) -> None:
    """Raises ModelLoadError when values of one type cannot be converted to the other."""
    numbers = (INTEGER, FLOAT, DOUBLE)
    fine = source == target or (source in (*numbers, BOOLEAN) and target in numbers)
    if not fine and not (source == INTEGER and target == STRING):
        element.refuse(f"dataType {target!r} is not supported for values of type {source!r}")


def cast_to(expression: Expression, target: str, element: Element) -> Expression:
    """The expression with values of that type."""
    check_cast(expression.data_type, target, element)
    same = expression.data_type == target or (target == DOUBLE and expression.data_type != STRING)
    return expression if same and expression.data_type == target else Cast(target, expression)


def read_expression(element: Element, scope: Scope, wanted: str | None = None) -> Expression:
    """Reads an expression.

    Args:
      element: the element of the expression.
      scope: the fields that it may refer to.
      wanted: the type of the values, as far as the expression leaves it open.
    """
    if element.tag in MAPPINGS:
        return MAPPINGS[element.tag](element, scope, wanted)
    if element.tag == "Constant":
        return _read_constant(element, wanted)
    if element.tag == "FieldRef":
        element.check("field mapMissingTo")
        data_type = scope.type_of(element.need("field"), element)
        text = element.get("mapMissingTo")
        substitute = None if text is None else literal(text, data_type, element)
        return Reference(data_type, element.need("field"), substitute)
    return _read_apply(element, scope, wanted)


def _read_constant(element: Element, wanted: str | None) -> Constant:
    element.check("dataType missing")
    text = element.text.strip() if wanted != STRING else element.text
    data_type = element.choice("dataType", DATA_TYPES, wanted or _inferred(text))
    if element.choice("missing", "true false", "false") == "true":
        return Constant(data_type, None)
    return Constant(data_type, literal(text, data_type, element))


def _inferred(text: str) -> str:
    for data_type, convert in ((INTEGER, int), (DOUBLE, float)):
        try:
            convert(text)
            return data_type
        except ValueError:
            continue
    return STRING


_ATTRIBUTES = "function mapMissingTo defaultValue invalidValueTreatment"


def _read_apply(element: Element, scope: Scope, wanted: str | None) -> Expression:
    element.check(_ATTRIBUTES, EXPRESSIONS)
    name = element.need("function")
    treatment = element.choice("invalidValueTreatment", "returnInvalid asMissing", "returnInvalid")
    if name == "if":
        return _read_if(element, scope, wanted)
    arguments = tuple(_read_argument(child, element, scope) for child in element.children)
    if name in ("isMissing", "isNotMissing"):
        if len(arguments) != 1:
            element.refuse(f"{name} takes one argument")
        return MissingCall(arguments[0], name == "isMissing")
    if name not in FUNCTIONS:
        element.refuse(f"function {name!r} is not supported")
    function = FUNCTIONS[name]
    types = [argument.data_type for argument in arguments]
    _check_arguments(element, name, function, types)
    data_type = result_type(function, types)
    missing, default = (
        None if element.get(one) is None else literal(element.need(one), data_type, element)
        for one in ("mapMissingTo", "defaultValue")
    )
    return Call(data_type, function, arguments, missing, default, treatment == "asMissing")


def _read_argument(element: Element, call: Element, scope: Scope) -> Expression:
    """Reads an argument; a constant without a type takes that of a field beside it, so that "1" may be a text."""
    wanted = None
    if element.tag == "Constant" and "dataType" not in element.attributes:
        beside = [scope.type_of(one.need("field"), one) for one in call.all("FieldRef")]
        wanted = beside[0] if beside and (beside[0] == STRING or call.get("function") != "/") else None
        if wanted in (INTEGER, BOOLEAN):
            wanted = None
    return read_expression(element, scope, wanted)


def _check_arguments(element: Element, name: str, function: Function, types: Sequence[str]) -> None:
    if not function.least <= len(types) <= function.most:
        element.refuse(f"function {name!r} does not take {len(types)} arguments")
    kinds = {"text" if one == STRING else "boolean" if one == BOOLEAN else "number" for one in types}
    if len(kinds) > 1 or (function.takes not in ("any", *kinds)):
        element.refuse(f"function {name!r} does not take arguments of types {', '.join(types)}")
    if name == "/" and set(types) == {INTEGER}:
        element.refuse("the quotient of two integers is not the same everywhere; declare one of them as a double")


def _read_if(element: Element, scope: Scope, wanted: str | None) -> Expression:
    if len(element.children) not in (2, 3) or "mapMissingTo" in element.attributes:
        element.refuse("function 'if' is supported with a condition, one or two values, and no mapMissingTo")
    condition = read_expression(element.children[0], scope, BOOLEAN)
    if condition.data_type != BOOLEAN:
        element.refuse(f"the condition has type {condition.data_type!r}, not boolean")
    branches = [read_expression(child, scope, wanted) for child in element.children[1:]]
    types = {branch.data_type for branch in branches}
    data_type = types.pop() if len(types) == 1 else DOUBLE
    default = element.get("defaultValue")
    return If(
        data_type,
        condition,
        tuple(cast_to(branch, data_type, element) for branch in branches),
        None if default is None else literal(default, data_type, element),
    )


def read_derived(element: Element, scope: Scope) -> tuple[str, Derived]:
    """Reads a DerivedField: its name, empty if it has none, and how it is computed."""
    element.check("name displayName optype dataType", f"{EXPRESSIONS} Value")
    data_type = element.choice("dataType", DATA_TYPES)
    (inner,) = [child for child in element.children if child.tag != "Value"] or [element.only(*EXPRESSIONS.split())]
    expression = cast_to(read_expression(inner, scope, data_type), data_type, element)
    return element.get("name") or "", Derived(data_type, expression.evaluate)


def read_transformations(elements: Sequence[Element], scope: Scope) -> tuple[dict[str, Derived], Scope]:
    """Reads derived fields, each of which may refer to earlier ones; returns them, and a scope that includes them."""
    derived: dict[str, Derived] = {}
    for element in elements:
        element.check("", "DerivedField")
        for child in element.children:
            name, field = read_derived(child, scope)
            child.need("name")
            if name in scope.fields:
                child.refuse(f"field {name!r} is already defined")
            derived[name] = field
            scope = scope.with_fields({name: field.data_type})
    return derived, scope
