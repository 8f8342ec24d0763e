"""Compiles expressions: literals, symbols, and calls of functions."""

from __future__ import annotations

from collections.abc import Sequence

from models.scorers.pfa.avro_types import BOOLEAN, DOUBLE, FLOAT, INT, LONG, NULL, RANGES, STRING, Type
from models.scorers.pfa.constants import read_value
from models.scorers.pfa.elements import Element
from models.scorers.pfa.library import LIBRARY, Call
from models.scorers.pfa.nodes import Function, Node, Scope, bound, coerced, constant_node
from models.scorers.pfa.paths import walked
from models.scorers.pfa.special_forms import FORMS

_LITERALS = {"int": INT, "long": LONG, "float": FLOAT, "double": DOUBLE, "string": STRING, "boolean": BOOLEAN}


def compile_expression(element: Element, scope: Scope) -> Node:
    """Compiles an expression.

    Raises:
      ModelLoadError: it is not an expression, or is not supported; the message names the place.
    """
    value = element.value
    if isinstance(value, str):
        return _symbol(value, element, scope)
    if isinstance(value, list):
        if len(value) == 1 and isinstance(value[0], str):
            return constant_node(STRING, value[0])
        element.refuse("an array is an expression only if its only item is a string")
    if not isinstance(value, dict):
        return _plain_literal(element)
    keys = [key for key in value if key not in ("@", "doc")]
    for key in keys:
        if key in FORMS:
            return FORMS[key](element, scope)
    if set(keys) == {"type", "value"}:
        wanted = scope.program.types.read(element.child("type"))
        return constant_node(wanted, read_value(element.child("value"), wanted))
    if len(keys) != 1:
        element.refuse(
            f"there is no expression with {', '.join(map(repr, keys))}" if keys else "an expression is empty"
        )
    if keys[0] in _LITERALS:
        return constant_node(_LITERALS[keys[0]], read_value(element.child(keys[0]), _LITERALS[keys[0]]))
    return _call(keys[0], element, scope)


def _plain_literal(element: Element) -> Node:
    value = element.value
    if value is None:
        return constant_node(NULL, None)
    if isinstance(value, bool):
        return constant_node(BOOLEAN, value)
    if isinstance(value, float):
        return constant_node(DOUBLE, value)
    kind: Type = INT if RANGES[INT][0] <= value <= RANGES[INT][1] else LONG
    return constant_node(kind, read_value(element, kind))


def _symbol(name: str, element: Element, scope: Scope) -> Node:
    first, *path = name.split(".")
    if first not in scope.symbols:
        element.refuse(f"the symbol {first[:100]!r} is not defined here, or is not supported")
    return walked(scope.symbols[first], [constant_node(STRING, one) for one in path], element)


def _call(name: str, element: Element, scope: Scope) -> Node:
    """A call, whose arguments are a list or a single expression."""
    given = element.child(name)
    elements = given.items() if isinstance(given.value, list) else [given]
    arguments = [_argument(one, scope) for one in elements]
    if name.startswith("u."):
        return _user_call(name[2:], element, scope, arguments)
    return _library_call(name, element, scope, arguments)


def _argument(element: Element, scope: Scope) -> Node | Function:
    value = element.value
    if isinstance(value, dict) and "fcn" in value:
        return _reference(element, scope)
    if isinstance(value, dict) and {"params", "do"} <= value.keys():
        return Function(element, lambda nodes: applied(element, scope, nodes), len(element.need("params").items()))
    return scope.compile(element)


def _reference(element: Element, scope: Scope) -> Function:
    element.check("fcn fill")
    name = element.need("fcn").text()
    if not name.startswith("u."):
        if "fill" in element.value:
            element.refuse("'fill' is supported only for functions of the document")
        return Function(element, lambda nodes: _library_call(name, element, scope, nodes), None)
    definition = _definition(name[2:], element, scope)
    names = [next(iter(one.object())) for one in definition.need("params").items()]
    filled = {} if "fill" not in element.value else dict(element.child("fill").members())
    unknown = filled.keys() - set(names)
    if unknown:
        element.refuse(f"function {name!r} has no parameter {min(unknown)!r}")

    def apply(nodes: Sequence[Node]) -> Node:
        rest = iter(nodes)
        given = [scope.compile(filled[one]) if one in filled else next(rest, None) for one in names]
        whole = [node for node in given if node is not None]
        if len(whole) != len(names) or next(rest, None) is not None:
            element.refuse(f"function {name!r} takes {len(names)} arguments")
        return _user_call(name[2:], element, scope, whole)

    return Function(element, apply, len(names) - len(filled))


def _definition(name: str, element: Element, scope: Scope) -> Element:
    if name not in scope.program.functions:
        element.refuse(f"the document has no function {name[:100]!r}")
    return scope.program.functions[name]


def _user_call(name: str, element: Element, scope: Scope, arguments: Sequence[Node | Function]) -> Node:
    definition = _definition(name, element, scope)
    nodes = [one for one in arguments if isinstance(one, Node)]
    if len(nodes) != len(arguments):
        element.refuse("functions of the document cannot take functions as arguments")
    return applied(definition, scope.sealed(name, element), nodes)


def applied(definition: Element, scope: Scope, arguments: Sequence[Node]) -> Node:
    """The body of a function with these arguments."""
    definition.check("params ret do")
    parameters = {}
    for one in definition.need("params").items():
        if len(one.object()) != 1:
            one.refuse("a parameter must have one name and one type")
        ((name, kind),) = one.members()
        parameters[name] = scope.program.types.read(kind)
    if len(arguments) != len(parameters) or len(parameters) != len(definition.need("params").items()):
        definition.refuse(f"the function takes {len(parameters)} arguments, not {len(arguments)}")
    pairs = zip(arguments, parameters.items(), strict=True)
    given = {name: coerced(node, kind, definition) for node, (name, kind) in pairs}
    returned = scope.program.types.read(definition.need("ret"))

    def body(symbols: dict[str, Node]) -> Node:
        inner = scope.inner(symbols)
        return coerced(FORMS["do"](definition, inner), returned, definition)

    return bound(given, definition, body)  # type: ignore[arg-type]


def _library_call(name: str, element: Element, scope: Scope, arguments: Sequence[Node | Function]) -> Node:
    if name not in LIBRARY:
        element.refuse(f"{name[:100]!r} is not supported")
    scope.program.count(element)
    return LIBRARY[name](Call(name, element, tuple(arguments)))
