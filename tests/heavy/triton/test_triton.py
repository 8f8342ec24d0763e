"""Both scorers of the Open Inference protocol against a real Triton."""

from __future__ import annotations

from pathlib import Path
from threading import Timer

import numpy as np
import pytest

from models.errors import ScoringError
from tests.heavy.triton.triton_replica import TRITON, save_model, start_triton
from tests.models.scorers.servers import served_models
from tests.models.scorers.servers.open_inference_contract import BOTH, OpenInferenceContract, X
from tests.models.scorers.servers.open_inference_server import GRPC, REST, Pair, at, loaded


class TestTriton(OpenInferenceContract):
    server = TRITON

    def test_binary_tensors_go_over_rest_with_all_numbers_and_texts(self, replicas: Pair) -> None:
        values = np.array([np.nan, np.inf, -0.0, 1e-45], np.float32)
        with loaded(REST, self.adder(REST, replicas[0])) as scorer:
            np.testing.assert_array_equal(scorer.score({"x": values}).outputs["y"], values + np.float32(3000))

    @BOTH
    def test_a_batch_of_more_rows_than_the_model_takes_is_an_error(self, replicas: Pair, kind: str) -> None:
        with loaded(kind, at(kind, replicas[0], path="limited")) as scorer:
            assert scorer.signature.inputs["half"].shape == (None, 1)
            assert scorer.score({"half": np.ones((64, 1), np.float16)}).outputs["half"].shape == (64, 1)
            with pytest.raises(ScoringError, match="batch-size must be <= 64"):
                scorer.score({"half": np.ones((65, 1), np.float16)})


@pytest.mark.parametrize("kind", [GRPC, REST])
def test_a_model_that_is_loaded_again_is_waited_for(kind: str, tmp_path: Path) -> None:
    models, slow = tmp_path / "models", {"load_seconds": "1"}
    save_model(models, "adder", "Adder", inputs=served_models.X, outputs=served_models.Y, parameters=slow)
    replica = start_triton(models, tmp_path / "log", "--model-control-mode=explicit", "--load-model=adder")
    try:
        replica.wait_until_ready()
        with loaded(kind, at(kind, replica, path="adder"), {"deadline": "60", "attempts": "1000"}) as scorer:
            replica.read("/v2/repository/models/adder/unload", b"")
            Timer(1, replica.read, ("/v2/repository/models/adder/load", b"")).start()
            assert scorer.score(X).outputs["y"].tolist() == [1001, 1002]
    finally:
        replica.process.kill()
