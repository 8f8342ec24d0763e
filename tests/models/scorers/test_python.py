"""Functions of installed packages: the example, really installed, and packages that misbehave."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.artifacts.local_opener import LocalOpener
from models.errors import EntryPointError, ModelLoadError, ScoringError
from models.functions import Column
from models.model_topic.descriptor import ModelDescriptor
from models.scorers import load_scorer
from models.scorers.base import ModelSource, Scorer
from models.scorers.python import ENTRY_POINT_GROUP
from tests.distributions import distributions, path_of_distributions
from tests.models.scorers.contract import Arrays, ScorerCase, ScorerContract

EXAMPLE = Path(__file__).parents[3] / "examples" / "functions"

Function = Callable[..., None]


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder with the installed example, built from a copy, because a build leaves files beside the sources."""
    folder = tmp_path_factory.mktemp("example")
    shutil.copytree(EXAMPLE, folder / "source")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--target", str(folder / "target"), str(folder / "source")], check=True)
    yield folder / "target"
    sys.modules.pop("loan_functions", None)


def text_of(function: str, **parameters: Any) -> bytes:
    return json.dumps({"function": function, "parameters": parameters}).encode()


def load(content: bytes, *, warm_up: bool = True, **fields: Any) -> Scorer:
    return load_scorer(ModelSource(ModelDescriptor("m", "python", 3, **fields), content, LocalOpener(), warm_up))


def applications(rows: int) -> Arrays:
    random = np.random.default_rng(3)
    return {name: random.uniform(1, 90, 2_000)[:rows] for name in ("amount", "income", "housing_cost")}


def burden_of(years: int, inputs: Arrays) -> Arrays:
    """The example in plain Python, row by row."""
    columns = (inputs[name].tolist() for name in ("amount", "income", "housing_cost"))
    shares = [(amount / years + housing) / max(income, 1.0) for amount, income, housing in zip(*columns, strict=True)]
    verdicts = [b"bearable" if share <= 0.4 else b"too much" for share in shares]
    return {"share": np.array(shares), "verdict": np.array(verdicts, object)}


def save(path: Path, number: int) -> Path:
    target = path.with_suffix(".json")
    target.write_bytes(text_of("loan-burden", years=4 * number))
    return target


class TestTheExample(ScorerContract):
    @pytest.fixture(autouse=True)
    def installed(self, example: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        with path_of_distributions(example, monkeypatch):
            yield

    @pytest.fixture
    def case(self) -> ScorerCase:
        wrong = {**applications(2), "income": np.zeros((2, 2))}
        return ScorerCase(
            "python", save, applications, lambda number, inputs: burden_of(4 * number, inputs), wrong, tolerance=1e-12
        )

    def test_a_function_that_is_not_installed_is_refused_with_those_that_are(self) -> None:
        with pytest.raises(EntryPointError, match=r"^model 'm' version 3: function 'loan' is not .*: loan-burden\."):
            load(text_of("loan"))

    def test_parameters_that_it_does_not_take_are_refused(self) -> None:
        with pytest.raises(ModelLoadError, match=r"'loan-burden' does not take these parameters: .*'rate'"):
            load(text_of("loan-burden", rate=0.2))

    def test_an_output_is_selected(self) -> None:
        scorer = load(text_of("loan-burden"), outputs={"s": "share"})
        assert list(scorer.signature.outputs) == ["share"]
        assert list(scorer.score(applications(2)).outputs) == ["share"]

    @pytest.mark.parametrize("fields", [{"outputs": {"s": "risk"}}, {"signature": "serving_default"}])
    def test_what_it_lacks_is_refused(self, fields: dict[str, Any]) -> None:
        with pytest.raises(ModelLoadError, match=r"no (output 'risk'|signature 'serving_default')"):
            load(text_of("loan-burden"), **fields)


@pytest.fixture
def function(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Function]:
    """Installs a function `f` that returns an expression of x, float64 [n]; it does not declare its outputs."""
    with distributions(tmp_path, monkeypatch) as write:

        def install(returned: str, decorator: str = 'column_function(inputs={"x": Column("float64")})') -> None:
            code = "import numpy as np\nfrom models.functions import Column, column_function\n"
            code += f'@{decorator}\ndef f(columns):\n    x = columns["x"]\n    return {returned}\n'
            write("acme-f", ENTRY_POINT_GROUP, "acme", code, "acme_f:f")

        yield install


def score(rows: int = 2) -> Arrays:
    return load(text_of("acme"), warm_up=False).score({"x": np.arange(1.0, 1.0 + rows)}).outputs


def test_outputs_that_a_function_does_not_state_are_those_of_the_warm_up(function: Function) -> None:
    function('{"y": np.stack([x, x], 1).astype(np.float32), "t": ["a"] * len(x)}')
    outputs = load(text_of("acme")).signature.outputs
    assert {name: (spec.dtype, spec.shape) for name, spec in outputs.items()} == {
        "y": (np.dtype(np.float32), (None, 2)),
        "t": (np.dtype(object), (None,)),
    }
    assert load(text_of("acme"), warm_up=False).signature.outputs == {}


@pytest.mark.parametrize(
    ("returned", "reason"),
    [
        ("x", "a ndarray was returned, but a mapping"),
        ("{}", "at least one output"),
        ('{"y": x[:1]}', r"output 'y' has shape \[1\], but 2 rows went in"),
        ('{"y": x.sum()}', r"output 'y' has shape \[\]"),
        ('{"y": [None] * len(x)}', "output 'y' holds a NoneType"),
        ('{"y": x * 1j}', "output 'y' holds complex128"),
        ('{"y": [[1], [1, 2]]}', "output 'y': .*inhomogeneous"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("x.sort()", "ValueError: .*read-only"),
    ],
)
def test_what_a_function_may_not_return_or_do_is_an_error(function: Function, returned: str, reason: str) -> None:
    function(returned)
    with pytest.raises(ScoringError, match=reason):
        score()


def test_labels_in_an_array_of_objects_are_numbers(function: Function) -> None:
    function('{"y": np.array([3] * len(x), object)}')
    assert score()["y"].dtype == np.int64


@pytest.mark.parametrize(
    ("stated", "reason"),
    [
        ('"z": Column("float64")', "returned y, but it states z"),
        ('"y": Column("float32")', "output 'y' is float64, but the function states float32"),
        ('"y": Column("float64", (3,))', r"output 'y' has shape \[2\], but \[2, 3\] is expected"),
    ],
)
def test_other_outputs_than_the_stated_ones_are_an_error(function: Function, stated: str, reason: str) -> None:
    function('{"y": x}', f'column_function({{"x": Column("float64")}}, {{{stated}}})')
    with pytest.raises(ScoringError, match=reason):
        score()


def test_a_function_that_fails_for_zeros_is_refused_at_load(function: Function) -> None:
    function('{"y": [1 / one for one in x.tolist()]}')
    with pytest.raises(ModelLoadError, match=r"row of zeros cannot be scored: ZeroDivisionError.*warmup=false"):
        load(text_of("acme"))
    assert score()["y"].tolist() == [1.0, 0.5]


@pytest.mark.parametrize(
    ("decorator", "reason"),
    [
        ("staticmethod", "refers to a staticmethod, not to a function that is decorated"),
        ("column_function({})", "cannot be imported: ValueError: a function without inputs"),
        ('column_function({"x": Column("complex64")})', "'complex64' is neither a dtype of numbers"),
    ],
)
def test_what_is_not_a_declared_function_is_refused(function: Function, decorator: str, reason: str) -> None:
    function("{}", decorator)
    with pytest.raises(EntryPointError, match=reason):
        load(text_of("acme"))


@pytest.mark.parametrize("content", [b"[]", b"{}", b'{"function": 1}', b'{"function": "f", "code": "import os"}'])
def test_what_does_not_name_a_function_is_refused(content: bytes) -> None:
    with pytest.raises(ModelLoadError, match=r"the (model must be|function must be a name)"):
        load(content)


def test_nothing_is_installed_by_default() -> None:
    with pytest.raises(EntryPointError, match="installed: none"):
        load(text_of("acme"))


@pytest.mark.parametrize("dtype", ["object", "complex64", "datetime64[s]", "no-dtype", "S3"])
def test_a_column_of_another_dtype_is_refused(dtype: str) -> None:
    with pytest.raises(ValueError, match="neither a dtype of numbers"):
        Column(dtype)
