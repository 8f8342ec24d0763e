"""Walking forests as arrays, against walking each row down each tree separately."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.scorers.flat_trees import FlatNode, flat_forest, split_node

FIELDS = ("a", "b", "c")
NUMBERS = st.sampled_from([-1.0, 0.0, 0.1, 1.0, float(np.nextafter(1.0, 2.0))])


@st.composite
def trees(draw: st.DrawFn) -> list[tuple[FlatNode, tuple[str, float] | None]]:
    """The nodes of a tree in any order after the root, each with its operator and value unless it is a leaf."""
    found: list[tuple[FlatNode, tuple[str, float] | None]] = [(FlatNode(), None)]
    for _ in range(draw(st.integers(0, 8))):
        leaves = [place for place, (_, test) in enumerate(found) if test is None]
        operator, value = draw(st.sampled_from(["<", "<=", ">", ">="])), draw(NUMBERS)
        node = split_node(draw(st.sampled_from(FIELDS)), operator, value, len(found), len(found) + 1)
        found[draw(st.sampled_from(leaves))] = (node, (operator, value))
        found += [(FlatNode(), None), (FlatNode(), None)]
    return found


def walked(tree: list[tuple[FlatNode, tuple[str, float] | None]], row: dict[str, float]) -> int:
    place = 0
    while (test := tree[place][1]) is not None:
        node, (operator, value) = tree[place][0], test
        number = row[node.field]
        true = {"<": number < value, "<=": number <= value, ">": number > value, ">=": number >= value}[operator]
        place = node.left if true == operator.startswith("<") else node.right
    return place


@given(st.lists(trees(), min_size=1, max_size=5), st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS), max_size=6))
def test_rows_reach_the_leaves_that_their_numbers_lead_to(
    forest: list[list[tuple[FlatNode, tuple[str, float] | None]]], numbers: list[tuple[float, float, float]]
) -> None:
    flat = flat_forest([[node for node, _ in tree] for tree in forest])
    rows = [dict(zip(FIELDS, row, strict=True)) for row in numbers]
    matrix = np.array([[row[name] for name in flat.fields] for row in rows]).reshape(len(rows), len(flat.fields))
    places, complete = flat.walk(matrix)
    assert complete.all()
    assert places.tolist() == [[walked(tree, row) for row in rows] for tree in forest]


def test_more_rows_than_go_down_together_reach_the_same_leaves() -> None:
    forest = flat_forest([[split_node("a", "<=", cut, 1, 2), FlatNode(), FlatNode()] for cut in (0.2, 0.7)])
    matrix = np.random.default_rng(1).random((40_000, 1))
    places, _ = forest.walk(matrix)
    np.testing.assert_array_equal(places, [np.where(matrix[:, 0] <= cut, 1, 2) for cut in (0.2, 0.7)])


def test_a_missing_value_concerns_only_the_trees_that_compare_it() -> None:
    forest = flat_forest([[split_node(name, "<", 0.5, 1, 2), FlatNode(), FlatNode()] for name in ("a", "b")])
    places, complete = forest.walk(np.array([[0.0, np.nan], [np.nan, 1.0], [1.0, 0.0]]))
    assert complete.tolist() == [[True, False, True], [False, True, True]]
    assert (places[0, 0], places[1, 1], places[0, 2], places[1, 2]) == (1, 2, 2, 1)
