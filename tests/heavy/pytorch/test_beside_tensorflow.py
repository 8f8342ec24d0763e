"""PyTorch and TensorFlow in one process: in either order, and in a pipeline on Prism that swaps their models."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from beam_pipeline.publishing.wine_data import MEASURES
from models.artifacts.digest import digest_of_path
from models.model_topic.descriptor import ModelDescriptor
from tests.end_to_end.conftest import Deploy
from tests.heavy.pytorch import programs
from tests.heavy.pytorch.test_pytorch_contract import TOLERANCE, expected
from tests.models.scorers.learned import FEATURES, rows_of
from tests.saved_models import save_linear_model

ROOT = Path(__file__).resolve().parents[3]
ROWS = 200
LOADS = """
import sys
import numpy as np
from models.artifacts.local_opener import LocalOpener
from models.model_topic.descriptor import ModelDescriptor
from models.scorers import load_scorer, prepare_engines
from models.scorers.base import ModelSource

rows = np.ones((2_000, 11), np.float32)
inputs = {"pytorch": {"x": rows}, "tensorflow-saved-model": {"v": rows}}
paths = [one.split("=") for one in sys.argv[1:]]
prepare_engines([kind for kind, _ in paths])
scorers = [
    (kind, load_scorer(ModelSource(ModelDescriptor("m", kind, 1, None, path), None, LocalOpener())))
    for kind, path in paths
]
for turn in range(3):
    for kind, scorer in scorers:
        (outputs,) = [scorer.score(inputs[kind]).outputs]
        print(kind, *(float(array.ravel()[0]) for _, array in sorted(outputs.items())))
"""


@pytest.fixture
def saved(tmp_path: Path) -> dict[str, Path]:
    """One model of each kind, by its type and format."""
    script, exported = tmp_path / "model.pt", tmp_path / "model.pt2"
    script.write_bytes(programs.script(programs.classifier(1)))
    exported.write_bytes(programs.exported_classifier(1))
    linear = save_linear_model(tmp_path / "linear", [1.0] * FEATURES)
    return {"exported": exported, "script": script, "linear": linear}


@pytest.mark.parametrize("order", [("pytorch", "tensorflow-saved-model"), ("tensorflow-saved-model", "pytorch")])
def test_both_load_and_score_in_one_process(
    order: tuple[str, str], environment: None, saved: dict[str, Path], tmp_path: Path
) -> None:
    program = tmp_path / "loads.py"
    program.write_text(LOADS)
    paths = {"pytorch": saved["exported"], "tensorflow-saved-model": saved["linear"]}
    command = [sys.executable, str(program), *(f"{kind}={paths[kind]}" for kind in order)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines() if line.startswith(order)]
    assert [line[0] for line in lines] == [*order] * 3
    wanted = expected(1, {"x": np.ones((1, FEATURES), np.float32)})
    for kind, *values in lines:
        first = [wanted["label"][0], wanted["probabilities"][0, 0]] if kind == "pytorch" else [float(FEATURES)]
        np.testing.assert_allclose([float(value) for value in values], first, rtol=1e-5)


def test_models_of_both_are_swapped_on_prism(deploy: Deploy, environment: None, saved: dict[str, Path]) -> None:
    serving = deploy("wine", options={"engines": "tensorflow-saved-model,pytorch"})
    serving.start()
    rows = rows_of(ROWS)
    records: list[Any] = [
        {"lot_id": str(row), **dict(zip(MEASURES, values, strict=True))} for row, values in enumerate(rows.tolist())
    ]
    wanted = expected(1, {"x": rows})
    for version, kind in enumerate(("linear", "exported", "script", "linear"), start=1):
        serving.write_model(described(kind, version, saved[kind]))
        serving.status("serving", "wine", version)
        results = serving.score(*records)
        assert {(result.version, result.error) for result in results} == {(version, None)}
        if kind == "linear":
            (output,) = results[0].outputs
            np.testing.assert_allclose(
                [np.ravel(result.values(output))[0] for result in results], rows.sum(axis=1), rtol=1e-4, atol=1e-5
            )
        else:
            assert [result.values("label") for result in results] == [[label] for label in wanted["label"]]
            found = np.array([result.values("probabilities") for result in results])
            shares = np.asarray(wanted["probabilities"], np.float64)
            np.testing.assert_allclose(found, shares, rtol=TOLERANCE, atol=TOLERANCE)


def described(kind: str, version: int, path: Path) -> ModelDescriptor:
    return ModelDescriptor(
        "wine",
        "tensorflow-saved-model" if kind == "linear" else "pytorch",
        version,
        model_source_location=str(path),
        inputs={"v" if kind == "linear" else "x": tuple(MEASURES)},
        options=programs.INPUT if kind == "script" else {},
        digest=digest_of_path(path),
    )
