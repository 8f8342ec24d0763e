"""The Triton example: the commands of its README, with a real Triton, compared with scikit-learn's forest in ONNX."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from beam_pipeline.publishing.wine_data import MEASURES
from tests.end_to_end.conftest import Deploy
from tests.examples.test_examples import ROOT, deployment_of
from tests.heavy.triton.triton_replica import start_triton

README = ROOT / "examples" / "triton" / "README.md"
TYPES = ("open-inference-grpc", "open-inference-rest")
EACH = 50
# A command takes 2 to 7 seconds of processor time, most of it for imports. On two cores that other work kept busy, with
# the lowest priority, a publication took 48 seconds and the training more than 120, without waiting for anything.
COMMAND_SECONDS = 400


def commands() -> list[list[str]]:
    """The README's commands after the installation, split into words."""
    blocks = re.findall(r"(?:^    .+\n)+", README.read_text(encoding="utf-8"), re.MULTILINE)
    return [shlex.split(line) for block in blocks[1:] for line in block.replace("\\\n", " ").splitlines()]


def run(words: list[str], replaced: dict[str, str]) -> None:
    program = [sys.executable] if words[0] == "python" else [sys.executable, "-m", "beam_pipeline"]
    given = words[1:]
    for old, new in replaced.items():
        given = [word.replace(old, new) for word in given]
    done = subprocess.run([*program, *given], cwd=ROOT, capture_output=True, text=True, timeout=COMMAND_SECONDS)
    assert done.returncode == 0, f"{words}:\n{done.stdout}{done.stderr}"


@pytest.mark.timeout(4 * COMMAND_SECONDS)
def test_wines_are_rated_on_triton_as_by_the_forest_itself(deploy: Deploy, tmp_path: Path) -> None:
    deployment = deployment_of(ROOT / "examples" / "serving.yaml", deploy)
    train, start, *steps, show = commands()
    assert (start[0], show[1]) == ("docker", "results")
    models = tmp_path / "models"
    replaced = {
        "/tmp/wine-triton": str(models),
        "examples/serving.yaml": str(deployment.folder / "serving.yaml"),
    }
    run(train, replaced)
    triton = start_triton(models, tmp_path / "log")
    try:
        triton.wait_until_ready()
        replaced |= {
            "localhost:8001": f"127.0.0.1:{triton.grpc_port}",
            "localhost:8000": f"127.0.0.1:{triton.rest_port}",
        }
        deployment.start()
        published = 0
        for words in steps:
            run(words, replaced)
            if words[1] == "models":
                published += 1
                deployment.status("serving", "wine", published)
        assert published == len(TYPES)
        session = onnxruntime.InferenceSession(models / "wine" / "1" / "forest.onnx")
        for place, model_type in enumerate(TYPES):
            results = deployment.results_of(range(place * EACH, (place + 1) * EACH))
            assert {(result.error, result.metadata["modelType"]) for result in results} == {(None, model_type)}
            rows = np.array([[result.record[name] for name in MEASURES] for result in results], np.float32)
            rated = [np.ravel(result.values("quality")[0])[0] for result in results]
            np.testing.assert_allclose(rated, np.ravel(session.run(None, {"X": rows})[0]).tolist(), rtol=1e-6)
    finally:
        triton.process.kill()
