"""The example with three frameworks: the commands of its README, and each model compared with its own framework."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from beam_pipeline.publishing.wine_data import MEASURES
from models.tensors import Array
from tests.end_to_end.conftest import Deploy
from tests.examples.test_examples import ROOT, deployment_of
from tests.mlflow_server import MlflowServer

README = ROOT / "examples" / "frameworks" / "README.md"
TYPES = ("onnx", "xgboost", "mlflow")
EACH = 50
Answer = Callable[[Array], Array]


def commands() -> list[list[str]]:
    """The README's commands after the installation, split into words."""
    blocks = re.findall(r"(?:^    .+\n)+", README.read_text(encoding="utf-8"), re.MULTILINE)
    return [shlex.split(line) for block in blocks[1:] for line in block.replace("\\\n", " ").splitlines()]


def by_onnx(folder: Path) -> Answer:
    import onnxruntime

    session = onnxruntime.InferenceSession(folder / "forest.onnx")
    return lambda rows: np.asarray(session.run(None, {"X": rows})[0]).ravel()


def by_xgboost(folder: Path) -> Answer:
    from xgboost import XGBRegressor

    model = XGBRegressor()
    model.load_model(folder / "boosted.ubj")
    return lambda rows: np.asarray(model.predict(rows))


def by_scikit_learn(folder: Path) -> Answer:
    import skops.io

    model = skops.io.load(folder / "linear" / "model.skops", trusted=[])
    return lambda rows: np.asarray(model.predict(rows))


def rows_of(results: list[Any]) -> Array:
    return np.array([[result.record[name] for name in MEASURES] for result in results], np.float32)


@pytest.mark.slow
def test_each_framework_replaces_the_one_before_and_rates_as_it_does_itself(
    deploy: Deploy, tmp_path: Path, mlflow_server: MlflowServer
) -> None:
    deployment = deployment_of(ROOT / "examples" / "serving.yaml", deploy)
    config, folder = str(deployment.folder / "serving.yaml"), str(tmp_path / "models")
    environment = {**os.environ, "MLFLOW_TRACKING_URI": mlflow_server.url, "PYTHONPATH": str(ROOT)}
    deployment.start()
    *steps, show = commands()
    assert show[1] == "results"
    published = 0
    for words in steps:
        program = [sys.executable] if words[0] == "python" else [sys.executable, "-m", "beam_pipeline"]
        given = [
            word.replace("/tmp/wine-frameworks", folder).replace("examples/serving.yaml", config) for word in words[1:]
        ]
        done = subprocess.run(
            [*program, *given], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, f"{words}:\n{done.stdout}{done.stderr}"
        if words[1] == "models":
            published += 1
            deployment.status("serving", "wine", published)
    assert published == len(TYPES)
    for place, framework in enumerate((by_onnx, by_xgboost, by_scikit_learn)):
        results = deployment.results_of(range(place * EACH, (place + 1) * EACH))
        assert {(result.error, result.version, result.metadata["modelType"]) for result in results} == {
            (None, place + 1, TYPES[place])
        }
        rated = [result.values("quality")[0] for result in results]
        np.testing.assert_allclose(rated, framework(Path(folder))(rows_of(results)).tolist(), rtol=1e-6)
