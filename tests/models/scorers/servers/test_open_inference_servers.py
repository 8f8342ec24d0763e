"""Both Open Inference scorers against real servers: MLServer and KServe. Triton is in tests/heavy."""

from __future__ import annotations

import re

import numpy as np
import pytest

from models.errors import ModelLoadError
from tests.models.scorers.servers.kserve_replica import KSERVE
from tests.models.scorers.servers.mlserver_replica import MLSERVER
from tests.models.scorers.servers.open_inference_contract import OpenInferenceContract, X
from tests.models.scorers.servers.open_inference_server import GRPC, REST, Pair, at, loaded


class TestMlserver(OpenInferenceContract):
    server = MLSERVER

    @pytest.fixture(scope="class")
    def replicas(self, mlserver_pair: Pair) -> Pair:
        """The replicas that the other tests of MLServer use."""
        return mlserver_pair


class TestKserve(OpenInferenceContract):
    server = KSERVE

    def test_a_version_is_refused_over_rest(self, replicas: Pair) -> None:
        location = at(REST, replicas[0], path="adder/versions/9")
        with (
            pytest.raises(ModelLoadError, match=re.escape("501: Model versioning not supported yet")),
            loaded(REST, location),
        ):
            pass

    def test_a_version_that_is_ignored_over_grpc_is_not_reported(self, replicas: Pair) -> None:
        with loaded(GRPC, at(GRPC, replicas[0], path="adder/versions/9")) as scorer:
            scores = scorer.score(X)
        np.testing.assert_array_equal(scores.outputs["y"], X["x"])
        assert scores.model_version is None
