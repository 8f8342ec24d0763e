"""The contract of scorers for both formats of PyTorch, and equality with PyTorch itself."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from models.errors import ScoringError
from tests.heavy.pytorch import programs
from tests.models.scorers.contract import Arrays, ScorerCase, ScorerContract, assert_close
from tests.models.scorers.heavy_types import HEAVY_TYPES
from tests.models.scorers.learned import FEATURES, rows_of

TOLERANCE = 1e-6


def _saved(suffix: str, content: Callable[[int], bytes]) -> Callable[[Path, int], Path]:
    def save(path: Path, number: int) -> Path:
        target = path.with_suffix(suffix)
        target.write_bytes(content(number))
        return target

    return save


def expected(number: int, inputs: Arrays) -> Arrays:
    with torch.no_grad():
        return {name: one.numpy() for name, one in programs.classifier(number)(torch.tensor(inputs["x"])).items()}


def _inputs(rows: int) -> Arrays:
    return {"x": rows_of(rows)}


WRONG = {"x": np.zeros((2, FEATURES - 1), np.float32)}
CASES = (
    ScorerCase("pytorch", _saved(".pt2", programs.exported_classifier), _inputs, expected, WRONG, tolerance=TOLERANCE),
    ScorerCase(
        "pytorch",
        _saved(".pt", lambda number: programs.script(programs.classifier(number))),
        _inputs,
        expected,
        WRONG,
        tolerance=TOLERANCE,
        options=programs.INPUT,
    ),
)


class TestPytorch(ScorerContract):
    @pytest.fixture(params=CASES, ids=["exported", "script"])
    def case(self, request: pytest.FixtureRequest) -> ScorerCase:
        found: ScorerCase = request.param
        return found


def test_this_folder_tests_what_the_others_leave_out() -> None:
    assert {case.model_type for case in CASES} == HEAVY_TYPES


@pytest.mark.parametrize("case", CASES, ids=["exported", "script"])
def test_a_thousand_rows_are_scored_as_pytorch_does(case: ScorerCase, tmp_path: Path) -> None:
    inputs = _inputs(1_000)
    found = programs.load(case.save(tmp_path / "model", 1), case.options).score(inputs).outputs
    wanted = expected(1, inputs)
    np.testing.assert_array_equal(found["label"], wanted["label"])
    assert_close(found["probabilities"], wanted["probabilities"], TOLERANCE)
    assert len(set(found["label"].tolist())) > 1


PAIR = (torch.zeros(2, 4, dtype=torch.float64), torch.zeros(2, dtype=torch.int64))


@pytest.mark.parametrize(
    ("content", "options"),
    [
        (lambda: programs.exported(programs.Pair(), *PAIR), {}),
        (lambda: programs.script(programs.Pair()), {"input.x": "float64:4", "input.bonus": "int64"}),
    ],
    ids=["exported", "script"],
)
def test_a_tuple_gives_numbered_outputs(content: Callable[[], bytes], options: dict[str, str]) -> None:
    scorer = programs.load(content(), options)
    assert {name: spec.dtype.name for name, spec in scorer.signature.inputs.items()} == {
        "x": "float64",
        "bonus": "int64",
    }
    outputs = scorer.score({"x": np.ones((3, 4)), "bonus": np.array([1, 2, 3])}).outputs
    np.testing.assert_array_equal(outputs["output_0"], [5.0, 6.0, 7.0])
    np.testing.assert_array_equal(outputs["output_1"], np.full((3, 4), 2.0))


def test_the_descriptor_selects_outputs() -> None:
    scorer = programs.load(programs.exported_classifier(), outputs={"p": "probabilities"})
    assert list(scorer.signature.outputs) == ["probabilities"]
    assert list(scorer.score(_inputs(2)).outputs) == ["probabilities"]


def test_a_traced_module_names_its_output() -> None:
    module = torch.jit.trace(torch.nn.Linear(FEATURES, 2), torch.zeros(2, FEATURES))
    scorer = programs.load(programs.script(module), {"input.input": f"float32:{FEATURES}"})
    assert {name: array.shape for name, array in scorer.score({"input": rows_of(5)}).outputs.items()} == {
        "output": (5, 2)
    }


def test_each_call_has_one_thread() -> None:
    programs.load(programs.exported_classifier())
    seen = [torch.get_num_threads()]
    thread = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert seen == [1, 1]


class Difference(torch.nn.Module):
    def forward(self, x: torch.Tensor, *, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        return x.sum(1) + first - second


def test_inputs_that_were_exported_by_keyword_are_given_by_their_names() -> None:
    examples = {"second": torch.zeros(2), "first": torch.zeros(2)}
    shapes = {name: {0: programs.ROWS} for name in ("x", *examples)}
    program = torch.export.export(Difference(), (torch.zeros(2, 4),), examples, dynamic_shapes=shapes)
    scorer = programs.load(programs.saved_program(program))
    inputs = {"first": np.full(3, 5, np.float32), "second": np.full(3, 2, np.float32), "x": np.ones((3, 4), np.float32)}
    np.testing.assert_array_equal(scorer.score(inputs).outputs["output"], [7, 7, 7])


def test_a_dimension_after_the_rows_may_have_any_size_within_its_limits() -> None:
    shapes = ({0: programs.ROWS, 1: torch.export.Dim("width", min=2, max=8)}, {0: programs.ROWS})
    program = torch.export.export(programs.Pair(), PAIR, dynamic_shapes=shapes)
    scorer = programs.load(programs.saved_program(program))
    assert scorer.signature.inputs["x"].shape == (None, None)
    for width in (2, 5):
        outputs = scorer.score({"x": np.ones((3, width)), "bonus": np.array([1, 2, 3])}).outputs
        np.testing.assert_array_equal(outputs["output_0"], [width + 1, width + 2, width + 3])
    with pytest.raises(ScoringError, match="8"):
        scorer.score({"x": np.ones((3, 9)), "bonus": np.array([1, 2, 3])})
