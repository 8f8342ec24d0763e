"""Random models have the results of a second evaluator, row by row."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.models.scorers.pmml import documents, oracle
from tests.models.scorers.pmml.evaluation import scored

MODELS = {
    "tree-classes": (documents.trees(True), True),
    "tree-numbers": (documents.trees(False), False),
    "binary-tree-classes": (documents.trees(True, binary=True), True),
    "binary-tree-numbers": (documents.trees(False, binary=True), False),
    "ensemble-classes": (documents.ensembles(True), True),
    "ensemble-numbers": (documents.ensembles(False), False),
    "regression-classes": (documents.regressions(True), True),
    "regression-numbers": (documents.regressions(False), False),
    "scorecard": (documents.scorecards(), False),
    "general-regression": (documents.general_regressions(), False),
}


@pytest.mark.parametrize("kind", MODELS)
@given(data=st.data())
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
def test_it_gives_what_a_walk_over_the_xml_gives(kind: str, data: st.DataObject) -> None:
    strategy, classes = MODELS[kind]
    content = documents.document(data.draw(strategy), classes)
    rows = data.draw(documents.ROWS)
    outputs = scored(content, {name: [row[name] for row in rows] for name in documents.NUMBERS + documents.TEXTS})
    for place, expected in enumerate(oracle.results(content, rows)):
        assert_same(outputs, place, expected, classes)


def assert_same(outputs: dict[str, Any], place: int, expected: Any, classes: bool) -> None:
    if not classes:
        wanted = np.nan if expected is None else expected
        np.testing.assert_allclose(outputs["y"][place], wanted, rtol=1e-12, atol=1e-12)
        return
    label, shares = expected if expected is not None else (None, {})
    for name, values in outputs.items():
        if name.startswith("probability_"):
            wanted = np.nan if expected is None else shares.get(name.removeprefix("probability_"), 0.0)
            np.testing.assert_allclose(values[place], wanted, rtol=1e-12, atol=1e-12)
    near = sorted(shares.values())[-2:]
    if len(near) < 2 or near[1] - near[0] > 1e-9 or outputs["y"][place] is None:
        assert outputs["y"][place] == label
