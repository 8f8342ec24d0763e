"""Every model type that runs in the process, on Flink: one job scores the same records with each type in turn."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.artifacts.digest import digest_of_path
from models.model_topic.descriptor import ModelDescriptor
from models.scorers import SCORER_MODULES, runs_in_process
from models.tensors import Array
from runners.flink.cluster import LocalFlinkCluster
from tests.distributions import distributions
from tests.end_to_end.deployment import Result
from tests.end_to_end.flink.conftest import DeployOnFlink
from tests.end_to_end.flink.flink_deployment import FlinkDeployment
from tests.models.scorers.contract import Arrays, ScorerCase
from tests.models.scorers.h2o_mojo import mojos
from tests.models.scorers.heavy_types import HEAVY_TYPES
from tests.models.scorers.learned import FEATURES, forest, rows_of
from tests.models.scorers.test_contract import CASES

ROWS = 200
NAMES = tuple(f"x{place}" for place in range(FEATURES))
TYPED = "sample"
INSTALLED = """
from apache_beam.ml.inference.onnx_inference import OnnxModelHandlerNumpy
from models.functions import Column, column_function
from transforms.model_handlers import InstalledHandler

HANDLER = InstalledHandler(OnnxModelHandlerNumpy, inputs={{"X": Column("float32", ({features},))}}, batch="matrix")

@column_function(inputs={{"X": Column("float64", ({features},))}}, outputs={{"y": Column("float64")}})
def total(columns, factor):
    return {{"y": factor * columns["X"].sum(axis=1)}}
"""
ENTRY_POINTS = """[beam_serving.functions]
sample-total = sample_code:total
[beam_serving.model_handlers]
sample-forest = sample_code:HANDLER
"""


def save_function(path: Path, number: int) -> Path:
    target = path.with_suffix(".json")
    target.write_text(json.dumps({"function": "sample-total", "parameters": {"factor": number}}))
    return target


def onnx_case() -> ScorerCase:
    return next(case for case in CASES if case.model_type == "onnx")


def handled(number: int, inputs: Arrays) -> Arrays:
    """The answer of Beam's handler: the first output of the model, which is the label."""
    return {"prediction": forest(number).predict(inputs["X"])}


def cases() -> list[ScorerCase]:
    """One case for each type; all models take the fields of the same records."""
    by_type = {case.model_type: case for case in CASES if not case.pickles.names}
    by_type["beam-model-handler"] = replace(
        onnx_case(), model_type="beam-model-handler", expected=handled, options={"handler": "sample-forest"}
    )
    by_type["python"] = ScorerCase(
        "python",
        save_function,
        lambda rows: {"X": rows_of(rows).astype(np.float64)},
        lambda number, inputs: {"y": number * inputs["X"].sum(axis=1)},
        {},
        tolerance=1e-12,
    )
    return [by_type[name] for name in sorted(by_type)]


def test_no_type_that_runs_in_the_process_is_left_out() -> None:
    ours = {name for name in SCORER_MODULES.keys() - HEAVY_TYPES if runs_in_process(name)}
    assert {case.model_type for case in cases()} == {*ours, "beam-model-handler"}


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The code of a function and of a handler, installed here and for clusters that start from now on."""
    folder = tmp_path / "packages"
    folder.mkdir()
    monkeypatch.setenv("PYTHONPATH", str(folder))
    with distributions(folder, monkeypatch) as install:
        install("sample-code", "beam_serving.functions", "sample-total", INSTALLED.format(features=FEATURES))
        (folder / "sample_code-1.2.dist-info" / "entry_points.txt").write_text(ENTRY_POINTS)
        yield


def schema_file(path: Path) -> Path:
    kinds = dict.fromkeys((*NAMES, *mojos.NUMBERS), "double") | dict.fromkeys(mojos.LEVELS, "string")
    fields = [{"name": name, "type": kind} for name, kind in kinds.items()]
    path.write_text(json.dumps({"type": "record", "name": TYPED, "fields": fields}))
    return path


def records() -> list[dict[str, Any]]:
    columns: dict[str, Array] = {name: rows_of(ROWS)[:, place] for place, name in enumerate(NAMES)}
    columns.update(mojos.rows_of(ROWS))
    natural = {name: array.tolist() for name, array in columns.items()}
    return [{name: _text(values[row]) for name, values in natural.items()} for row in range(ROWS)]


def _text(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value


@dataclass(frozen=True)
class Swaps:
    """Publishes models of all types under one name, and scores the records with each."""

    deployment: FlinkDeployment
    folder: Path

    def publish(self, case: ScorerCase, version: int) -> None:
        place = self.folder / case.model_type
        place.mkdir()
        path = case.save(place / "model", 1)
        inputs = {name: NAMES for name, array in case.inputs(1).items() if array.ndim == 2}
        self.deployment.write_model(
            ModelDescriptor(
                TYPED,
                case.model_type,
                version,
                model_source_location=str(path),
                inputs=inputs,
                options=case.options,
                digest=digest_of_path(path),
            )
        )

    def scored_by(self, version: int) -> list[Result]:
        """The results of the records, once that version scores."""
        first = records()[:1]
        self.deployment.eventually(
            lambda: self.deployment.score(*first)[0].version == version, f"version {version} scores"
        )
        return self.deployment.score(*records())


def assert_as_the_framework(results: list[Result], case: ScorerCase) -> None:
    for name, wanted in case.expected(1, case.inputs(ROWS)).items():
        found = [result.values(name) for result in results]
        if wanted.dtype == object:
            assert found == [[one] for one in wanted], f"{case.model_type}: {name}"
        else:
            numbers, expected = np.array(found), np.asarray(wanted.reshape(ROWS, -1), np.float64)
            title = f"{case.model_type}: {name}"
            np.testing.assert_allclose(numbers, expected, rtol=case.tolerance, atol=case.tolerance, err_msg=title)


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_models_of_all_types_score_on_flink_as_in_their_frameworks(
    packages: None, make_cluster: Callable[..., LocalFlinkCluster], deploy: DeployOnFlink, tmp_path: Path
) -> None:
    schema = str(schema_file(tmp_path / "sample.avsc"))
    options: dict[str, Any] = {"record-schema": schema}
    deployment = deploy(make_cluster(), schema=schema, **options)
    deployment.start()
    swaps = Swaps(deployment, tmp_path)
    for version, case in enumerate(cases(), start=1):
        swaps.publish(case, version)
        results = swaps.scored_by(version)
        assert {(result.version, result.error) for result in results} == {(version, None)}
        assert {result.metadata["modelType"] for result in results} == {case.model_type}
        assert_as_the_framework(results, case)
