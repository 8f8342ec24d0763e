"""Both Open Inference scorers, with models that only MLServer has, and with the calls that it records.

`open_inference_contract.py` covers their behaviour with every server, including MLServer.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import numpy as np
import pytest

from beam_pipeline.publishing.drafts import Draft, check_draft, draft_descriptor
from models.errors import ModelLoadError, PublishError, ScorerOptionError, ScoringError
from models.scorers.servers.remote_calls import RemoteCallError
from models.tensors import TensorSpec
from models.text import SERVER_TEXT_LIMIT
from tests.models.scorers.servers.mlserver_replica import MLSERVER, behave, calls
from tests.models.scorers.servers.open_inference_contract import BOTH, X
from tests.models.scorers.servers.open_inference_server import GRPC, REST, Pair, Replica, loaded
from tests.models.scorers.servers.open_inference_server import at as location_of
from tests.models.scorers.servers.tensorflow_serving_replica import free_ports


def at(kind: str, *replicas: Replica, path: str = MLSERVER.adder) -> str:
    return location_of(kind, *replicas, path=path)


@BOTH
def test_a_model_without_a_version_is_called_and_no_version_is_reported(mlservers: Pair, kind: str) -> None:
    with loaded(kind, at(kind, mlservers[0], path="undefined"), inputs={"x": "alcohol"}) as scorer:
        scores = scorer.score({"x": np.array([2, 4], np.float32)})
    assert scores.outputs["y"].ravel().tolist() == [0.5, 0.25]
    assert scores.model_version is None


def test_numbers_that_json_does_not_have_pass_over_grpc(mlservers: Pair) -> None:
    # MLServer itself fails over gRPC when an output has NaN, so none of these returns it.
    values = np.array([np.inf, -np.inf, 0.0, -0.0, 1e-45, 3.4e38], np.float32)
    with loaded(GRPC, at(GRPC, mlservers[0], path="undefined"), {"dtype.x": "float32"}) as scorer:
        y = scorer.score({"x": values}).outputs["y"].ravel()
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(y, 1 / values)


def test_numbers_that_json_does_not_have_are_refused_before_they_are_sent(mlservers: Pair) -> None:
    with loaded(REST, at(REST, mlservers[0])) as scorer:
        before = len(calls(mlservers[0]))
        with pytest.raises(ScoringError, match=r"input 'x': JSON has no NaN .* open-inference-grpc can send"):
            scorer.score({"x": np.array([1, np.nan], np.float32)})
    assert len(calls(mlservers[0])) == before


def test_what_a_server_sends_for_infinity_is_nan(mlservers: Pair) -> None:
    with loaded(REST, at(REST, mlservers[0], path="undefined"), {"dtype.x": "float32"}) as scorer:
        y = scorer.score({"x": np.array([0, 2], np.float32)}).outputs["y"].ravel()
    np.testing.assert_array_equal(y, np.array([np.nan, 0.5], np.float32))


@BOTH
def test_a_model_without_metadata_needs_its_inputs_named(mlservers: Pair, kind: str) -> None:
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
    mlservers: Pair, kind: str
) -> None:
    location = at(kind, mlservers[0], path="wrong")
    with pytest.raises(ModelLoadError, match=r"'x' has the shape \[1\] .* metadata=ignore"), loaded(kind, location):
        pass
    with loaded(kind, location, {"metadata": "ignore", "dtype.x": "float32"}) as scorer:
        assert scorer.score({"x": np.array([2], np.float32)}).outputs["y"].ravel().tolist() == [0.5]


@BOTH
def test_an_answer_that_contradicts_the_metadata_is_refused_unless_they_are_ignored(mlservers: Pair, kind: str) -> None:
    location = at(kind, mlservers[0], path="liar")
    with (
        loaded(kind, location) as scorer,
        pytest.raises(ScoringError, match=r"output 'y' .* FP32 of shape \[2, 1\] is not FP32 of \[-1, 2\]"),
    ):
        scorer.score(X)
    with loaded(kind, location, {"metadata": "ignore", "dtype.x": "float32"}) as scorer:
        assert scorer.score(X).outputs["y"].ravel().tolist() == [1, 2]


@BOTH
def test_only_the_outputs_that_the_descriptor_takes_are_asked_for_and_given(mlservers: Pair, kind: str) -> None:
    with loaded(kind, at(kind, mlservers[0]), outputs={"score": "y"}) as scorer:
        assert set(scorer.score(X).outputs) == {"y"}
    assert calls(mlservers[0])[-1]["outputs"] == ["y"]
    with (
        pytest.raises(ModelLoadError, match="there is no output z; outputs: y"),
        loaded(kind, at(kind, mlservers[0]), outputs={"score": "z"}),
    ):
        pass


@BOTH
def test_a_signature_is_refused_because_the_protocol_has_none(mlservers: Pair, kind: str) -> None:
    with (
        pytest.raises(ModelLoadError, match="no signature 'predict'; in this protocol, the only one is 'infer'"),
        loaded(kind, at(kind, mlservers[0]), signature="predict"),
    ):
        pass


@BOTH
def test_an_error_of_the_model_is_short_and_not_repeated(mlservers: Pair, kind: str) -> None:
    with loaded(kind, at(kind, mlservers[0])) as scorer:
        before = len(calls(mlservers[0]))
        with pytest.raises(RemoteCallError, match=r"(INTERNAL|500): .*13 is not scored!!!") as caught:
            scorer.score({"x": np.array([13], np.float32)})
        behave(mlservers[0])
    assert not caught.value.transient
    assert len(str(caught.value)) < SERVER_TEXT_LIMIT + 100
    assert len(calls(mlservers[0])) == before + 1


def test_a_batch_larger_than_the_servers_limit_is_an_error_and_is_not_sent_again(mlservers: Pair) -> None:
    with (
        loaded(GRPC, at(GRPC, mlservers[0]), {"deadline": "60"}) as scorer,
        pytest.raises(RemoteCallError, match=r"RESOURCE_EXHAUSTED: .*larger than max") as caught,
    ):
        scorer.score({"x": np.zeros(2_000_000, np.float32)})
    assert not caught.value.transient


@BOTH
def test_every_call_has_another_id_and_the_headers_of_the_options(mlservers: Pair, kind: str) -> None:
    with loaded(kind, at(kind, mlservers[0]), {"header.seldon": "wine-deployment"}) as scorer:
        scorer.score(X)
        scorer.score(X)
    last = calls(mlservers[0])[-2:]
    assert all(call["id"] and call["headers"]["seldon"] == "wine-deployment" for call in last)
    assert last[0]["id"] != last[1]["id"]


@BOTH
def test_publishing_checks_the_model_on_its_server(mlservers: Pair, kind: str) -> None:
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
def test_several_calls_are_in_flight_together(mlservers: Pair, kind: str) -> None:
    with loaded(kind, at(kind, mlservers[0]), {"deadline": "60"}) as scorer, ThreadPoolExecutor(4) as threads:
        before = len(calls(mlservers[0]))
        behave(mlservers[0], delay=1)
        results = list(threads.map(lambda value: scorer.score({"x": np.full(1, value, np.float32)}), range(4)))
    assert [scores.outputs["y"][0] for scores in results] == [3000, 3001, 3002, 3003]
    assert max(call["in_flight"] for call in calls(mlservers[0])[before:]) > 1


@BOTH
def test_a_call_ends_at_its_deadline(mlservers: Pair, kind: str) -> None:
    with loaded(kind, at(kind, mlservers[0]), {"deadline": "1"}) as scorer:
        scorer.score(X)
        behave(mlservers[0], delay=2)
        with pytest.raises(RemoteCallError, match=r"timed out|DEADLINE_EXCEEDED") as caught:
            scorer.score(X)
    assert caught.value.transient
