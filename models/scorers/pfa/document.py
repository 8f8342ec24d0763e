"""A whole PFA document: its input, its output, and the computation between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from models.errors import ScoringError
from models.scorers.pfa.avro_types import STRING, Array, Record, Type, TypeTable
from models.scorers.pfa.blocks import compile_block
from models.scorers.pfa.columns import Column
from models.scorers.pfa.constants import read_value
from models.scorers.pfa.elements import Element, read_json
from models.scorers.pfa.expressions import compile_expression
from models.scorers.pfa.frames import Frame
from models.scorers.pfa.nodes import InputArray, Node, Program, Scope, coerced, computable, constant_node, variable_node

_KNOWN = "name version metadata method input output action cells fcns begin end pools options randseed zero merge"
# Members that change results, or could, unless they are empty.
_EMPTY_ONLY = ("begin", "end", "pools", "zero", "merge", "options")


@dataclass(frozen=True)
class Document:
    """A document that can be scored.

    Attributes:
      input_type: of the datum.
      output: computes the results, whose type can be a column.
      slot: of the variable that has the datum.
      widths: the lengths of the input arrays of which functions require a certain length.
    """

    input_type: Type
    output: Node
    slot: int
    widths: Mapping[str, int]

    def score(self, datum: Column, rows: int) -> Column:
        """The results.

        Raises:
          ScoringError: a row has a PFA error; the text is that of the first such row.
        """
        frame = Frame(rows)
        frame.set(self.slot, datum)
        with np.errstate(all="ignore"):
            result = self.output.evaluate(frame)
        if frame.first_error is not None:
            row, text = frame.first_error
            raise ScoringError(f"row {row}: {text}")
        return result


def read_document(content: bytes) -> Document:
    """Reads and compiles a PFA document.

    Raises:
      ModelLoadError: it is not a PFA document, or contains something that is not supported; the message names the
        place.
    """
    root = read_json(content)
    if not isinstance(root.value, dict) or "action" not in root.value:
        root.refuse("it is not a PFA engine; an object with input, output and action is expected")
    root.check(_KNOWN)
    if root.value.get("method", "map") != "map":
        root.child("method").refuse(f"{root.child('method').shown()} is not supported; the supported method is map")
    for name in _EMPTY_ONLY:
        if root.value.get(name):
            root.child(name).refuse(f"{name!r} is not supported")
    types = TypeTable(root)
    functions = dict(root.child("fcns").members()) if "fcns" in root.value else {}
    cells = {name: _cell(one, types) for name, one in root.child("cells").members()} if "cells" in root.value else {}
    program = Program(types, cells, functions, compile_expression)
    for definition in functions.values():
        _check_function(definition, types)
    return _compiled(root, program)


def _compiled(root: Element, program: Program) -> Document:
    given = root.need("input")
    input_type = program.types.read(given)
    fields = input_type.fields if isinstance(input_type, Record) else {"": input_type}
    arrays = {name: InputArray() for name, kind in fields.items() if isinstance(kind, Array)}
    datum = computable(variable_node(input_type, arrays), given)
    symbols = {"input": datum}
    if isinstance(root.value.get("name"), str):
        symbols["name"] = constant_node(STRING, root.value["name"])
    wanted = program.types.read(root.need("output"))
    action = root.child("action")
    result = coerced(compile_block(action, Scope(program, symbols)), wanted, action)
    widths = {name or "input": next(iter(one.widths)) for name, one in arrays.items() if len(one.widths) == 1}
    return Document(input_type, computable(result, action), datum.slot or 0, widths)


def _cell(element: Element, types: TypeTable) -> Node:
    element.check("type init shared rollback source")
    if element.value.get("shared") or element.value.get("rollback"):
        element.refuse("shared cells and cells with rollback are not supported")
    if element.value.get("source", "embedded") != "embedded":
        element.child("source").refuse("the value of a cell must be in the document")
    kind = types.read(element.need("type"))
    return constant_node(kind, read_value(element.need("init"), kind))


def _check_function(definition: Element, types: TypeTable) -> None:
    """Checks the types of a function; its body is compiled where it is called."""
    definition.check("params ret do")
    for one in definition.need("params").items():
        for _, kind in one.members():
            types.read(kind)
    types.read(definition.need("ret"))
    definition.need("do")
