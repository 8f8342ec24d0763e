"""Tests of both Open Inference scorers that pass with every real server of the protocol.

class TestKserve(OpenInferenceContract):
    server = KSERVE
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from models.errors import ModelLoadError, ScoringError
from models.scorers.base import Scorer
from models.scorers.servers.remote_calls import RemoteCallError
from models.tensors import TensorSpec
from models.text import SERVER_TEXT_LIMIT
from tests.models.scorers.learned import CLASSES, FEATURES, forest, rows_of
from tests.models.scorers.servers import served_models
from tests.models.scorers.servers.open_inference_server import (
    GRPC,
    REST,
    OpenInferenceServer,
    Pair,
    Replica,
    at,
    loaded,
    started_pair,
)

BOTH = pytest.mark.parametrize("kind", [GRPC, REST])
X = {"x": np.array([1, 2], np.float32)}


class OpenInferenceContract:
    """The tests; a subclass names the server."""

    server: ClassVar[OpenInferenceServer]

    @pytest.fixture(scope="class")
    def replicas(self, tmp_path_factory: pytest.TempPathFactory, forest_file: Path) -> Iterator[Pair]:
        """Two servers with the same models."""
        yield from started_pair(self.server, tmp_path_factory.mktemp("servers"), forest_file)

    def adder(self, kind: str, *replicas: Replica) -> str:
        return at(kind, *replicas, path=self.server.adder)

    def score(self, scorer: Scorer) -> None:
        """Scores X, and checks the result."""
        assert scorer.score(X).outputs["y"].tolist() == [self.server.offset + 1, self.server.offset + 2]

    @BOTH
    def test_the_metadata_are_the_signature(self, replicas: Pair, kind: str) -> None:
        location = at(kind, replicas[0], path="forest")
        with loaded(kind, location) as scorer:
            assert (scorer.address, scorer.digest, scorer.signature.name) == (location, None, "infer")
            assert scorer.signature.inputs == {"X": TensorSpec("X", np.dtype(np.float32), (None, FEATURES))}
            assert scorer.signature.outputs == {
                "label": TensorSpec("label", np.dtype(np.int64), (None,)),
                "probabilities": TensorSpec("probabilities", np.dtype(np.float32), (None, CLASSES)),
            }

    @BOTH
    @pytest.mark.parametrize("rows", [0, 1, 2_000])
    def test_any_number_of_rows_is_scored_as_the_framework_does(
        self, replicas: Pair, kind: str, rows: int, forest_file: Path
    ) -> None:
        inputs = {"X": rows_of(rows)}
        with loaded(kind, at(kind, replicas[0], path="forest")) as scorer:
            found = scorer.score(inputs).outputs
        assert {name: (array.dtype.name, array.shape) for name, array in found.items()} == {
            "label": ("int64", (rows,)),
            "probabilities": ("float32", (rows, CLASSES)),
        }
        if rows:
            for name, wanted in served_models.Forest(forest_file)(inputs).items():
                np.testing.assert_array_equal(found[name], wanted)
            probabilities = forest(1).predict_proba(inputs["X"])
            np.testing.assert_allclose(found["probabilities"].astype(float), probabilities, atol=1e-5)

    @BOTH
    def test_values_of_every_type_pass_unchanged(self, replicas: Pair, kind: str) -> None:
        inputs = {
            "text": np.array([b'a\xc3\xa4"\n', b""], object),
            "flag": np.array([True, False]),
            "matrix": np.array([[1, -2], [3, 2**62 + 1]], np.int64),
            **{name.lower(): extremes(name) for name in served_models.NUMBERS},
        }
        with loaded(kind, at(kind, replicas[0], path="kinds")) as scorer:
            assert scorer.signature.inputs.keys() == inputs.keys()
            outputs = scorer.score(inputs).outputs
            assert {name: spec.dtype for name, spec in scorer.signature.outputs.items()} == {
                name: array.dtype for name, array in outputs.items()
            }
        assert outputs["text"].tolist() == [2 * b'a\xc3\xa4"\n', b""]
        for name in inputs.keys() - {"text"}:
            np.testing.assert_array_equal(outputs[name], inputs[name], strict=True)

    @BOTH
    def test_halves_pass_where_the_server_takes_them(self, replicas: Pair, kind: str) -> None:
        half = np.array([0.1, -65504], np.float16)
        with loaded(kind, at(kind, replicas[0], path="halves")) as scorer:
            if kind in self.server.halves:
                np.testing.assert_array_equal(scorer.score({"half": half}).outputs["half"], half, strict=True)
                return
            with pytest.raises(RemoteCallError, match=r"400: .*FP16 data via JSON is not supported") as caught:
                scorer.score({"half": half})
        assert not caught.value.transient

    def test_numbers_that_json_does_not_have_pass_over_grpc(self, replicas: Pair) -> None:
        values = np.array([np.inf, -np.inf, -0.0, 1e-45, 3.4e38] + self.server.nan * [np.nan], np.float32)
        with np.errstate(over="ignore"):
            inputs = {"half": values.astype(np.float16)}
        with loaded(GRPC, at(GRPC, replicas[0], path="halves")) as scorer:
            np.testing.assert_array_equal(scorer.score(inputs).outputs["half"], inputs["half"])
        with loaded(GRPC, self.adder(GRPC, replicas[0])) as scorer:
            wanted = values + np.float32(self.server.offset)
            np.testing.assert_array_equal(scorer.score({"x": values}).outputs["y"], wanted)

    @BOTH
    def test_versions_are_texts_and_reported_if_they_are_numbers(self, replicas: Pair, kind: str) -> None:
        for path, (offset, number) in self.server.versions.items():
            with loaded(kind, at(kind, replicas[0], path=path)) as scorer:
                scores = scorer.score(X)
            assert scores.outputs["y"].tolist() == [offset + 1, offset + 2]
            assert scores.model_version == number

    @BOTH
    def test_what_the_server_lacks_is_an_error_in_the_servers_words(self, replicas: Pair, kind: str) -> None:
        for path, text in self.server.unknown.items():
            location = at(kind, replicas[0], path=path)
            with pytest.raises(ModelLoadError, match=text) as caught, loaded(kind, location):
                pass
            assert path in str(caught.value)

    @BOTH
    def test_an_error_of_the_model_is_short_and_final(self, replicas: Pair, kind: str) -> None:
        with loaded(kind, self.adder(kind, replicas[0])) as scorer:
            with pytest.raises(RemoteCallError, match=self.server.failure[kind]) as caught:
                scorer.score({"x": np.array([13], np.float32)})
            self.score(scorer)
        assert not caught.value.transient
        assert len(str(caught.value)) < SERVER_TEXT_LIMIT + 100

    @BOTH
    def test_inputs_that_the_model_does_not_take_are_an_error(self, replicas: Pair, kind: str) -> None:
        with loaded(kind, at(kind, replicas[0], path="forest")) as scorer:
            for wrong in (rows_of(2)[:, 1:], np.array([[b"text"] * FEATURES] * 2, object)):
                with pytest.raises(ScoringError) as caught:
                    scorer.score({"X": wrong})
                assert isinstance(caught.value, RemoteCallError)
                assert not caught.value.transient
            assert len(scorer.score({"X": rows_of(2)}).outputs["label"]) == 2

    @BOTH
    def test_calls_go_to_all_addresses(self, replicas: Pair, kind: str) -> None:
        with loaded(kind, self.adder(kind, *replicas)) as scorer:
            self.score(scorer)
            before = [replica.calls() for replica in replicas]
            for _ in range(10):
                self.score(scorer)
        assert all(one.calls() - count >= 3 for one, count in zip(replicas, before, strict=True))

    @BOTH
    def test_another_replica_answers_for_one_that_hangs(self, replicas: Pair, kind: str) -> None:
        with loaded(kind, self.adder(kind, *replicas), {"attempt.deadline": "0.5", "deadline": "60"}) as scorer:
            self.score(scorer)
            with replicas[0].hanging():
                for _ in range(4):
                    self.score(scorer)

    def test_a_model_is_waited_for_and_a_killed_replica_fails_no_call_and_comes_back(
        self, replicas: Pair, tmp_path: Path, forest_file: Path
    ) -> None:
        victim = self.server.start(tmp_path, forest_file, load_seconds=1)
        patient = {"deadline": "120", "attempts": "1000"}
        try:
            # Nothing listens there yet, and then the model takes some time to load: both are waited for.
            with (
                loaded(REST, self.adder(REST, victim), patient) as rest,
                loaded(GRPC, self.adder(GRPC, victim), patient) as grpc,
                loaded(REST, self.adder(REST, replicas[0], victim), {"deadline": "60"}) as rest_of_both,
                loaded(GRPC, self.adder(GRPC, replicas[0], victim), {"deadline": "60"}) as grpc_of_both,
            ):
                self.score(rest)
                self.score(grpc)
                self._score_while_killed([rest_of_both, grpc_of_both], victim)
                victim.start_again()
                for scorer in (rest, grpc):
                    self.score(scorer)
        finally:
            victim.process.kill()

    def _score_while_killed(self, scorers: list[Scorer], victim: Replica) -> None:
        """Threads score with each scorer; the victim is killed after its first response; all continue for a while."""
        killed = threading.Event()

        def keep_scoring(scorer: Scorer) -> int:
            after = 0
            while after < 20:
                self.score(scorer)
                after += killed.is_set()
            return after

        with ThreadPoolExecutor(4) as threads:
            futures = [threads.submit(keep_scoring, scorer) for scorer in 2 * scorers]
            try:
                seen = victim.calls()
                while victim.calls() < seen + 10:
                    assert not any(future.done() for future in futures)
                victim.process.kill()
            finally:
                killed.set()
            assert [future.result() for future in futures] == [20] * 4


def extremes(datatype: str) -> served_models.Array:
    """The lowest and highest whole number of a type; for floats the smallest, and one that needs all decimal digits."""
    dtype = np.dtype(datatype.lower().replace("fp", "float"))
    if dtype.kind == "f":
        return np.array([np.finfo(dtype).tiny, np.float64(0.1).astype(dtype)], dtype)
    limits = np.iinfo(dtype)
    return np.array([limits.min, limits.max], dtype)
