"""The functions in which rows descend a tree."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from models.scorers.pfa.avro_types import BOOLEAN, Record, Type, Union, tag_of
from models.scorers.pfa.columns import Scalars
from models.scorers.pfa.constants import Member, column_of, converted
from models.scorers.pfa.library.calls import Call
from models.scorers.pfa.library.trees.comparisons import TRUTH, read_comparison
from models.scorers.pfa.library.trees.flat_trees import Walk, flat_tree
from models.scorers.pfa.library.trees.nodes import Tree, TreeNode
from models.scorers.pfa.nodes import Node, bound, coerced, constant_node

_PASS, _FAIL, _MISSING = "pass", "fail", "missing"


def _walk(make_test: Callable[[Call, Node, Node], Node], ways: Sequence[str]) -> Callable[[Call], Node]:
    """A function in which rows descend a tree.

    Args:
      make_test: compiles the test of a node, given the datum and the node.
      ways: the fields of a node that name its children.
    """

    def compile_call(call: Call) -> Node:
        kind, root = call.constant(1)
        if not isinstance(kind, Record) or not set(ways) <= kind.fields.keys():
            call.element.refuse(f"{call.name}: a tree node must be a record with {', '.join(ways)}")

        def with_datum(symbols: dict[str, Node]) -> Node:
            gives = _leaf_type(call, kind, ways)
            tree = _read_tree(call, kind, root, ways, gives, lambda node: make_test(call, symbols["datum"], node))
            flat = flat_tree(symbols["datum"], tree)
            if flat is None:
                return Node(gives, lambda frame: tree.leaves.take(tree.walk(frame)))
            walk = Walk.of([flat])
            return Node(gives, lambda frame: tree.leaves.take(walk.leaves(frame)[0]), tree=flat)

        return bound({"datum": call.node(0)}, call.element, with_datum)  # type: ignore[arg-type]

    return compile_call


def _leaf_type(call: Call, kind: Record, ways: Sequence[str]) -> Type:
    """The type of the leaves: everything that may follow a node, except for nodes."""
    found: list[Type] = []
    for way in ways:
        union = kind.fields[way]
        call.refuse_unless(isinstance(union, Union) and kind in union.members, f"{way!r} must be a union with {kind}")
        for member in union.members if isinstance(union, Union) else ():
            if member != kind and member not in found:
                found.append(member)
    call.refuse_unless(bool(found), "its nodes have no leaves")
    return found[0] if len(found) == 1 else Union(tuple(found))


def _read_tree(
    call: Call, kind: Record, root: Any, ways: Sequence[str], gives: Type, test: Callable[[Node], Node]
) -> Tree:
    nodes: list[TreeNode] = []
    leaves: list[Any] = []
    found = [root]
    for value in found:  # it grows
        targets = []
        for way in ways:
            union, member = kind.fields[way], value[way]
            reached = _reached(union, member)
            if reached[0] == kind:
                targets.append(len(found))
                found.append(reached[1])
            else:
                leaves.append(converted(reached[1], reached[0], gives))
                targets.append(-len(leaves))
        nodes.append(TreeNode(test(constant_node(kind, value)), tuple(targets)))
    return Tree(tuple(nodes), column_of(gives, leaves))


def _reached(union: Type, member: Any) -> tuple[Type, Any]:
    if not isinstance(union, Union) or not isinstance(member, Member):
        raise TypeError(f"not a union but {tag_of(union)}")
    return union.members[member.place], member.value


def _simple(call: Call, datum: Node, node: Node) -> Node:
    test = read_comparison(call, datum, node.type, node.constant, may_be_null=False)
    return Node(BOOLEAN, lambda frame: Scalars(test.of(test.evaluate(frame))), test=test)


def _by_function(wanted: Type) -> Callable[[Call, Node, Node], Node]:
    def compile_test(call: Call, datum: Node, node: Node) -> Node:
        test = call.function(2).apply([datum, node])
        return test if test.type == wanted else coerced(test, wanted, call.element)

    return compile_test


def _of_size(size: int, compile_call: Callable[[Call], Node]) -> Callable[[Call], Node]:
    def checked(call: Call) -> Node:
        call.check_count(size)
        return compile_call(call)

    return checked


FUNCTIONS: dict[str, Callable[[Call], Node]] = {
    "model.tree.simpleTree": _of_size(2, _walk(_simple, (_PASS, _FAIL))),
    "model.tree.simpleWalk": _of_size(3, _walk(_by_function(BOOLEAN), (_PASS, _FAIL))),
    "model.tree.missingWalk": _of_size(3, _walk(_by_function(TRUTH), (_PASS, _FAIL, _MISSING))),
}
