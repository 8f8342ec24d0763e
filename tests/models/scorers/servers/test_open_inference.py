"""Both scorers of the Open Inference protocol against two real MLServers."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from beam_pipeline.publishing.drafts import Draft, check_draft, draft_descriptor
from models.errors import ModelLoadError, PublishError, ScorerOptionError, ScoringError
from models.scorers import load_scorer
from models.scorers.base import Scorer
from models.scorers.servers.remote_calls import RemoteCallError
from models.tensors import TensorSpec
from models.text import SERVER_TEXT_LIMIT
from tests.models.scorers.servers.mlserver_replica import Replica, start
from tests.models.scorers.servers.tensorflow_serving_replica import free_ports, source

Replicas = tuple[Replica, Replica]

GRPC, REST = "open-inference-grpc", "open-inference-rest"
BOTH = pytest.mark.parametrize("kind", [GRPC, REST])

X = {"x": np.array([1, 2], np.float32)}
# The newest version that MLServer has loaded answers a call that names none, so tests name one.
V3 = "adder/versions/v3"


def at(kind: str, *replicas: Replica, path: str = V3) -> str:
    if kind == GRPC:
        return f"grpc://{','.join(f'127.0.0.1:{one.grpc_port}' for one in replicas)}/{path}"
    return f"http://{','.join(f'127.0.0.1:{one.rest_port}' for one in replicas)}/v2/models/{path}"


@contextmanager
def loaded(kind: str, location: str, options: Mapping[str, str] | None = None, **fields: Any) -> Iterator[Scorer]:
    scorer = load_scorer(source(location, kind, options=options or {}, **fields))
    try:
        yield scorer
    finally:
        scorer.close()


@BOTH
@pytest.mark.parametrize(("version", "first", "number"), [("v3", 3001, None), ("1", 1001, 1), ("2", 2001, 2)])
def test_a_version_is_a_text_and_reported_if_it_is_a_number(
    mlservers: Replicas, kind: str, version: str, first: float, number: int | None
) -> None:
    with loaded(kind, at(kind, mlservers[0], path=f"adder/versions/{version}")) as scorer:
        scores = scorer.score(X)
    assert scores.outputs["y"].tolist() == [first, first + 1]
    assert scores.outputs["y"].dtype == np.float32
    assert scores.model_version == number


@BOTH
def test_a_model_without_a_version_is_called_and_no_version_is_reported(mlservers: Replicas, kind: str) -> None:
    with loaded(kind, at(kind, mlservers[0], path="undefined"), inputs={"x": "alcohol"}) as scorer:
        scores = scorer.score({"x": np.array([2, 4], np.float32)})
    assert scores.outputs["y"].ravel().tolist() == [0.5, 0.25]
    assert scores.model_version is None


@BOTH
def test_the_metadata_are_the_signature(mlservers: Replicas, kind: str) -> None:
    location = at(kind, mlservers[0], path="kinds")
    with loaded(kind, location) as scorer:
        specs = {
            "text": TensorSpec("text", np.dtype(object), (None,)),
            "whole": TensorSpec("whole", np.dtype(np.int64), (None, 2)),
            "short": TensorSpec("short", np.dtype(np.uint8), (None,)),
            "real": TensorSpec("real", np.dtype(np.float64), (None,)),
            "flag": TensorSpec("flag", np.dtype(np.bool_), (None,)),
        }
        assert scorer.signature.inputs == specs
        assert scorer.signature.outputs == specs
        assert scorer.signature.name == "infer"
        assert (scorer.address, scorer.digest) == (location, None)


@BOTH
def test_values_of_every_kind_pass_unchanged(mlservers: Replicas, kind: str) -> None:
    inputs = {
        "text": np.array([b'a\xc3\xa4"\n', b""], object),
        "whole": np.array([[1, -2], [3, 2**62 + 1]], np.int64),
        "short": np.array([0, 255], np.uint8),
        "real": np.array([0.1, 5e-324]),
        "flag": np.array([True, False]),
    }
    with loaded(kind, at(kind, mlservers[0], path="kinds")) as scorer:
        outputs = scorer.score(inputs).outputs
        assert {name: spec.dtype for name, spec in scorer.signature.outputs.items()} == {
            name: array.dtype for name, array in outputs.items()
        }
    assert outputs["text"].tolist() == [2 * b'a\xc3\xa4"\n', b""]
    for name in ("whole", "short", "real", "flag"):
        np.testing.assert_array_equal(outputs[name], inputs[name])


@BOTH
@pytest.mark.parametrize("rows", [0, 1, 2000])
def test_any_number_of_rows_is_scored(mlservers: Replicas, kind: str, rows: int) -> None:
    x = np.arange(100, 100 + rows, dtype=np.float32)
    with loaded(kind, at(kind, mlservers[0])) as scorer:
        np.testing.assert_array_equal(scorer.score({"x": x}).outputs["y"], x + 3000)


def test_numbers_that_json_does_not_have_pass_over_grpc(mlservers: Replicas) -> None:
    # MLServer itself fails over gRPC when an output has NaN, so none of these gives it.
    values = np.array([np.inf, -np.inf, 0.0, -0.0, 1e-45, 3.4e38], np.float32)
    with loaded(GRPC, at(GRPC, mlservers[0], path="undefined"), {"dtype.x": "float32"}) as scorer:
        y = scorer.score({"x": values}).outputs["y"].ravel()
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(y, 1 / values)


def test_numbers_that_json_does_not_have_are_refused_before_they_are_sent(mlservers: Replicas) -> None:
    with loaded(REST, at(REST, mlservers[0])) as scorer:
        before = len(mlservers[0].calls())
        with pytest.raises(ScoringError, match=r"input 'x': JSON has no NaN .* open-inference-grpc can send"):
            scorer.score({"x": np.array([1, np.nan], np.float32)})
    assert len(mlservers[0].calls()) == before


def test_what_a_server_sends_for_infinity_is_nan(mlservers: Replicas) -> None:
    with loaded(REST, at(REST, mlservers[0], path="undefined"), {"dtype.x": "float32"}) as scorer:
        y = scorer.score({"x": np.array([0, 2], np.float32)}).outputs["y"].ravel()
    np.testing.assert_array_equal(y, np.array([np.nan, 0.5], np.float32))


@BOTH
def test_a_model_without_metadata_needs_its_inputs_named(mlservers: Replicas, kind: str) -> None:
    location = at(kind, mlservers[0], path="undefined")
    with (
        pytest.raises(ModelLoadError, match=r"metadata name no inputs; name the inputs .* dtype\.INPUT"),
        loaded(kind, location),
    ):
        pass
    with loaded(kind, location, {"dtype.x": "float64"}) as scorer:
        assert scorer.signature.inputs == {"x": TensorSpec("x", np.dtype(np.float64), None)}
        assert scorer.signature.outputs == {}
        assert scorer.score({"x": np.array([4.0])}).outputs["y"].dtype == np.float64


@BOTH
def test_metadata_without_a_dimension_for_the_batch_are_refused_unless_they_are_ignored(
    mlservers: Replicas, kind: str
) -> None:
    location = at(kind, mlservers[0], path="wrong")
    with pytest.raises(ModelLoadError, match=r"'x' has the shape \[1\] .* metadata=ignore"), loaded(kind, location):
        pass
    with loaded(kind, location, {"metadata": "ignore", "dtype.x": "float32"}) as scorer:
        assert scorer.score({"x": np.array([2], np.float32)}).outputs["y"].ravel().tolist() == [0.5]


@BOTH
def test_an_answer_that_contradicts_the_metadata_is_refused_unless_they_are_ignored(
    mlservers: Replicas, kind: str
) -> None:
    location = at(kind, mlservers[0], path="liar")
    with (
        loaded(kind, location) as scorer,
        pytest.raises(ScoringError, match=r"output 'y' .* FP32 of shape \[2, 1\] is not FP32 of \[-1, 2\]"),
    ):
        scorer.score(X)
    with loaded(kind, location, {"metadata": "ignore", "dtype.x": "float32"}) as scorer:
        assert scorer.score(X).outputs["y"].ravel().tolist() == [1, 2]


@BOTH
def test_only_the_outputs_that_the_descriptor_takes_are_asked_for_and_given(mlservers: Replicas, kind: str) -> None:
    with loaded(kind, at(kind, mlservers[0]), outputs={"score": "y"}) as scorer:
        assert set(scorer.score(X).outputs) == {"y"}
    assert mlservers[0].calls()[-1]["outputs"] == ["y"]
    with (
        pytest.raises(ModelLoadError, match="there is no output z; outputs: y"),
        loaded(kind, at(kind, mlservers[0]), outputs={"score": "z"}),
    ):
        pass


@BOTH
def test_a_signature_is_refused_because_the_protocol_has_none(mlservers: Replicas, kind: str) -> None:
    with (
        pytest.raises(ModelLoadError, match="no signature 'predict'; in this protocol, the only one is 'infer'"),
        loaded(kind, at(kind, mlservers[0]), signature="predict"),
    ):
        pass


@BOTH
@pytest.mark.parametrize(
    ("path", "text"), [("unknown", "Model unknown .*not found"), ("adder/versions/9", "with version 9 not found")]
)
def test_a_model_that_the_server_lacks_is_an_error_in_the_servers_words(
    mlservers: Replicas, kind: str, path: str, text: str
) -> None:
    with pytest.raises(ModelLoadError, match=text) as caught, loaded(kind, at(kind, mlservers[0], path=path)):
        pass
    assert path in str(caught.value)


@BOTH
def test_an_error_of_the_model_is_short_and_not_repeated(mlservers: Replicas, kind: str) -> None:
    with loaded(kind, at(kind, mlservers[0])) as scorer:
        before = len(mlservers[0].calls())
        with pytest.raises(RemoteCallError, match=r"(INTERNAL|500): .*13 is not scored!!!") as caught:
            scorer.score({"x": np.array([13], np.float32)})
        mlservers[0].behave()
    assert not caught.value.transient
    assert len(str(caught.value)) < SERVER_TEXT_LIMIT + 100
    assert len(mlservers[0].calls()) == before + 1


def test_a_batch_larger_than_the_servers_limit_is_an_error_and_is_not_sent_again(mlservers: Replicas) -> None:
    with (
        loaded(GRPC, at(GRPC, mlservers[0]), {"deadline": "60"}) as scorer,
        pytest.raises(RemoteCallError, match=r"RESOURCE_EXHAUSTED: .*larger than max") as caught,
    ):
        scorer.score({"x": np.zeros(2_000_000, np.float32)})
    assert not caught.value.transient


@BOTH
def test_every_call_has_another_id_and_the_headers_of_the_options(mlservers: Replicas, kind: str) -> None:
    with loaded(kind, at(kind, mlservers[0]), {"header.seldon": "wine-deployment"}) as scorer:
        scorer.score(X)
        scorer.score(X)
    last = mlservers[0].calls()[-2:]
    assert all(call["id"] and call["headers"]["seldon"] == "wine-deployment" for call in last)
    assert last[0]["id"] != last[1]["id"]


@BOTH
def test_publishing_checks_the_model_on_its_server(mlservers: Replicas, kind: str) -> None:
    for name, problem in (("x", None), ("z", "the signature's inputs are x")):
        draft = Draft("adder", kind, location=at(kind, mlservers[0]), inputs={name: ("alcohol",)})
        with nullcontext() if problem is None else pytest.raises(PublishError, match=problem):
            check_draft(draft, draft_descriptor(draft), None)


@BOTH
def test_an_unreachable_server_is_an_error_at_load(kind: str) -> None:
    port = free_ports(1)[0]
    location = f"grpc://127.0.0.1:{port}/m" if kind == GRPC else f"http://127.0.0.1:{port}/v2/models/m"
    with (
        pytest.raises(ModelLoadError, match=rf"{port}.*\(after 2 attempts\)"),
        loaded(kind, location, {"attempts": "2"}),
    ):
        pass


@BOTH
def test_an_option_that_is_not_understood_is_named(kind: str) -> None:
    location = "grpc://127.0.0.1:1/m" if kind == GRPC else "http://127.0.0.1:1/v2/models/m"
    for options, text in (
        ({"metadata": "no"}, "option metadata: 'no' is not use or ignore"),
        ({"dtype.x": "complex64"}, r"option dtype\.x: 'complex64' is not one of bool, uint8, .*string"),
        ({"format": "row"}, "unknown option format; known options: .*metadata"),
    ):
        with pytest.raises(ScorerOptionError, match=text), loaded(kind, location, options):
            pass


@BOTH
def test_calls_go_to_all_addresses(mlservers: Replicas, kind: str) -> None:
    with loaded(kind, at(kind, *mlservers)) as scorer:
        scorer.score(X)
        before = [len(replica.calls()) for replica in mlservers]
        for _ in range(10):
            scorer.score(X)
    assert all(len(one.calls()) - count >= 3 for one, count in zip(mlservers, before, strict=True))


@BOTH
def test_several_calls_are_in_flight_together(mlservers: Replicas, kind: str) -> None:
    with loaded(kind, at(kind, mlservers[0]), {"deadline": "60"}) as scorer, ThreadPoolExecutor(4) as threads:
        before = len(mlservers[0].calls())
        mlservers[0].behave(delay=1)
        results = list(threads.map(lambda value: scorer.score({"x": np.full(1, value, np.float32)}), range(4)))
    assert [scores.outputs["y"][0] for scores in results] == [3000, 3001, 3002, 3003]
    assert max(call["in_flight"] for call in mlservers[0].calls()[before:]) > 1


@BOTH
def test_a_call_ends_at_its_deadline(mlservers: Replicas, kind: str) -> None:
    with loaded(kind, at(kind, mlservers[0]), {"deadline": "1"}) as scorer:
        scorer.score(X)
        mlservers[0].behave(delay=2)
        with pytest.raises(RemoteCallError, match=r"timed out|DEADLINE_EXCEEDED") as caught:
            scorer.score(X)
    assert caught.value.transient


@BOTH
def test_another_replica_answers_for_one_that_hangs(mlservers: Replicas, kind: str) -> None:
    with loaded(kind, at(kind, *mlservers), {"attempt.deadline": "0.5", "deadline": "60"}) as scorer:
        scorer.score(X)
        with mlservers[0].hanging():
            for _ in range(4):
                assert scorer.score(X).outputs["y"].tolist() == [3001, 3002]


def test_a_model_is_waited_for_and_a_killed_replica_fails_no_call(mlservers: Replicas, tmp_path: Path) -> None:
    victim = start(tmp_path, load_seconds=2)
    try:
        # Nothing listens there yet, and then the model takes some time to load: both are waited for.
        for kind in (REST, GRPC):
            with loaded(kind, at(kind, victim), {"deadline": "120", "attempts": "1000"}) as scorer:
                assert scorer.score(X).outputs["y"].tolist() == [3001, 3002]
        options = {"deadline": "60"}
        with (
            loaded(GRPC, at(GRPC, mlservers[0], victim), options) as grpc,
            loaded(REST, at(REST, mlservers[0], victim), options) as rest,
        ):
            _score_while_killed([grpc, rest], victim)
    finally:
        victim.process.kill()


def _score_while_killed(scorers: list[Scorer], victim: Replica) -> None:
    """Threads score with each scorer; the victim is killed once it has answered; all go on for a while."""
    killed = threading.Event()

    def keep_scoring(scorer: Scorer) -> int:
        after = 0
        while after < 20:
            assert scorer.score(X).outputs["y"].tolist() == [3001, 3002]
            after += killed.is_set()
        return after

    with ThreadPoolExecutor(4) as threads:
        futures = [threads.submit(keep_scoring, scorer) for scorer in 2 * scorers]
        try:
            seen = len(victim.calls())
            while len(victim.calls()) < seen + 10:
                assert not any(future.done() for future in futures)
            victim.process.kill()
        finally:
            killed.set()
        assert [future.result() for future in futures] == [20] * 4
