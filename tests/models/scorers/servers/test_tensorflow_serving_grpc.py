"""The gRPC scorer against real server processes over real SavedModels."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2

from models.errors import ModelLoadError, ScorerOptionError, ScoringError
from models.scorers import load_scorer
from models.scorers.servers.grpc_channels import CHANNELS, ChannelSettings, channel_target
from models.scorers.servers.remote_calls import RemoteCallError
from models.scorers.servers.served_location import Address
from models.scorers.servers.tensorflow_serving_grpc import TensorFlowServingGrpcScorer, load
from models.tensor_protos import fill_tensor, tensor_array
from models.tensors import Array, TensorSpec
from tests.certificates import Certificate
from tests.models.scorers.servers.tensorflow_serving_replica import Replica, close, free_ports, source, start
from tests.models.scorers.servers.traced_batch import TracedBatch

Replicas = tuple[Replica, Replica]

X = {"x": np.array([1, 2], np.float32)}


@contextmanager
def loaded(
    location: str, options: Mapping[str, str] | None = None, **fields: Any
) -> Iterator[TensorFlowServingGrpcScorer]:
    scorer = load(source(location, "tensorflow-serving-grpc", options=options or {}, **fields))
    try:
        yield scorer
    finally:
        scorer.close()


def at(*replicas: Replica, path: str = "adder") -> str:
    return f"grpc://{','.join(f'127.0.0.1:{replica.grpc_port}' for replica in replicas)}/{path}"


def grpc_calls(replica: Replica) -> list[dict[str, Any]]:
    return [call for call in replica.calls() if call["protocol"] == "grpc"]


def test_rows_are_scored_by_the_newest_version(replicas: Replicas) -> None:
    with loaded(at(replicas[0])) as scorer:
        scores = scorer.score(X)
    np.testing.assert_array_equal(scores.outputs["y"], [2001, 2002])
    assert scores.outputs["y"].dtype == np.float32
    assert scores.model_version == 2


def test_the_scorer_is_found_by_its_model_type(replicas: Replicas) -> None:
    scorer = load_scorer(source(at(replicas[0]), "tensorflow-serving-grpc"))
    assert isinstance(scorer, TensorFlowServingGrpcScorer)
    scorer.close()


def test_a_remote_scorer_has_a_signature_and_an_address_but_no_digest(replicas: Replicas) -> None:
    with loaded(at(replicas[0])) as scorer:
        assert scorer.signature.name == "serving_default"
        assert scorer.signature.inputs == {"x": TensorSpec("x", np.dtype(np.float32), (None,))}
        assert scorer.signature.outputs == {"y": TensorSpec("y", np.dtype(np.float32), (None,))}
        assert scorer.address == at(replicas[0])
        assert scorer.digest is None


@pytest.mark.parametrize("path", ["adder/versions/1", "adder/labels/stable"])
def test_a_version_is_picked_by_number_or_label(replicas: Replicas, path: str) -> None:
    with loaded(at(replicas[0], path=path)) as scorer:
        scores = scorer.score(X)
    np.testing.assert_array_equal(scores.outputs["y"], [1001, 1002])
    assert scores.model_version == 1


def kinds(rows: int = 2) -> dict[str, Array]:
    return {
        "text": np.array([b"a\xff", b""], object)[:rows],
        "whole": np.array([[1, 2], [3, 2**62]], np.int64)[:rows],
        "real": np.array([0.1, -np.inf])[:rows],
        "flag": np.array([True, False])[:rows],
    }


def test_strings_integers_floats_and_booleans_pass_unchanged(replicas: Replicas) -> None:
    with loaded(at(replicas[0], path="kinds")) as scorer:
        outputs = scorer.score(kinds()).outputs
        assert {name: spec.dtype for name, spec in scorer.signature.outputs.items()} == {
            name: array.dtype for name, array in outputs.items()
        }
    assert outputs["text"].tolist() == [b"a\xffa\xff", b""]
    assert outputs["text_bytes"].tolist() == [[b"a\xff", b"a\xff"], [b"", b""]]
    assert outputs["whole"].tolist() == [[2, 3], [4, 2**62 + 1]]
    assert outputs["real"].tolist() == [0.1, -np.inf]
    assert outputs["flag"].tolist() == [False, True]


def test_no_rows_give_no_rows(replicas: Replicas) -> None:
    with loaded(at(replicas[0], path="kinds")) as scorer:
        outputs = scorer.score(kinds(rows=0)).outputs
    assert {name: array.shape for name, array in outputs.items()} == {
        "text": (0,),
        "text_bytes": (0, 2),
        "whole": (0, 2),
        "real": (0,),
        "flag": (0,),
    }


def test_only_the_outputs_that_the_descriptor_takes_are_sent(replicas: Replicas) -> None:
    with loaded(at(replicas[0], path="kinds"), outputs={"denied": "flag"}) as scorer:
        assert set(scorer.score(kinds()).outputs) == {"flag"}
    assert grpc_calls(replicas[0])[-1]["outputs"] == ["flag"]


def test_a_batch_larger_than_the_default_limit_of_grpc_is_scored(replicas: Replicas) -> None:
    rows = np.arange(2_000_000, dtype=np.float32)
    with loaded(at(replicas[0]), {"deadline": "60"}) as scorer:
        np.testing.assert_array_equal(scorer.score({"x": rows}).outputs["y"], rows + 2000)


def test_a_batch_larger_than_the_servers_limit_is_an_error_and_is_not_sent_again(replicas: Replicas) -> None:
    with (
        loaded(at(replicas[1]), {"deadline": "60", "dtype.x": "float32"}) as scorer,
        pytest.raises(RemoteCallError, match=r"RESOURCE_EXHAUSTED: .*larger than max") as caught,
    ):
        scorer.score({"x": np.zeros(2_000_000, np.float32)})
    assert not caught.value.transient
    assert "attempts" not in str(caught.value)


def test_the_only_signature_is_taken_whatever_its_name(replicas: Replicas) -> None:
    with loaded(at(replicas[0], path="wine")) as scorer:
        assert scorer.signature.name == "predict"
        scores = scorer.score({"rows": np.ones((2, 3), np.float32)})
    assert scores.outputs["total"].tolist() == [3, 3]


def test_the_signature_that_the_descriptor_names_is_taken(replicas: Replicas) -> None:
    with loaded(at(replicas[0], path="ambiguous"), signature="double") as scorer:
        assert scorer.score({"rows": np.ones((1, 3), np.float32)}).outputs["total"].tolist() == [6]


@pytest.mark.parametrize("signature", [None, "triple"])
def test_an_ambiguous_signature_is_an_error_that_lists_all(replicas: Replicas, signature: str | None) -> None:
    with (
        pytest.raises(ModelLoadError, match="signatures: double, single"),
        loaded(at(replicas[0], path="ambiguous"), signature=signature),
    ):
        pass


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("unknown", r"NOT_FOUND: Servable not found for request: Latest\(unknown\)"),
        ("adder/versions/9", r"NOT_FOUND: Servable not found for request: Specific\(adder, 9\)"),
        ("adder/labels/x", "INVALID_ARGUMENT: Unrecognized servable version label: x"),
    ],
)
def test_a_model_that_the_server_lacks_is_an_error_in_the_servers_words(
    replicas: Replicas, path: str, text: str
) -> None:
    with pytest.raises(ModelLoadError, match=text) as caught, loaded(at(replicas[0], path=path)):
        pass
    assert at(replicas[0], path=path) in str(caught.value)


def test_an_unreachable_server_is_an_error_at_load_and_leaves_no_channel_open() -> None:
    port = free_ports(1)[0]
    with (
        pytest.raises(ModelLoadError, match=f"grpc://127.0.0.1:{port}/adder: UNAVAILABLE: .*{port}"),
        loaded(f"grpc://127.0.0.1:{port}/adder", {"attempts": "2"}),
    ):
        pass
    assert CHANNELS.users(ChannelSettings(f"dns:///127.0.0.1:{port}")) == 0


def test_an_unknown_host_is_an_error_at_load() -> None:
    with pytest.raises(ModelLoadError, match=r"unknown\.invalid"), loaded("grpc://127.0.0.1:1,unknown.invalid:1/m"):
        pass


def test_bad_inputs_are_an_error_in_the_servers_words_and_are_not_sent_again(replicas: Replicas) -> None:
    with loaded(at(replicas[0])) as scorer:
        before = len(grpc_calls(replicas[0]))
        with pytest.raises(RemoteCallError, match="INVALID_ARGUMENT: input size does not match signature") as caught:
            scorer.score({"z": np.zeros(1, np.float32)})
    assert at(replicas[0]) in str(caught.value)
    assert not caught.value.transient
    assert len(grpc_calls(replicas[0])) == before + 1


def test_an_input_that_is_not_a_tensor_is_a_scoring_error(replicas: Replicas) -> None:
    with loaded(at(replicas[0])) as scorer:
        for array in (np.array([1, None], object), np.array(["2026-01-01"], "datetime64[D]")):
            with pytest.raises(ScoringError, match="input 'x'"):
                scorer.score({"x": array})


@pytest.mark.parametrize("failure", ["UNAVAILABLE", "RESOURCE_EXHAUSTED", "ABORTED"])
def test_a_passing_failure_is_not_seen(replicas: Replicas, failure: str) -> None:
    with loaded(at(replicas[0])) as scorer:
        replicas[0].behave(failures=(failure, failure))
        assert scorer.score(X).outputs["y"].tolist() == [2001, 2002]


def test_a_lasting_failure_is_reported_with_the_number_of_attempts(replicas: Replicas) -> None:
    with loaded(at(replicas[0]), {"attempts": "3", "backoff": "0.01"}) as scorer:
        replicas[0].behave(failures=("UNAVAILABLE",) * 9)
        with pytest.raises(RemoteCallError, match=r"UNAVAILABLE: made to fail with UNAVAILABLE \(after 3 attempts\)"):
            scorer.score(X)


def test_a_call_ends_at_its_deadline(replicas: Replicas) -> None:
    with loaded(at(replicas[0]), {"deadline": "1.5"}) as scorer:
        replicas[0].behave(delay_ms=4000)
        with pytest.raises(RemoteCallError, match="DEADLINE_EXCEEDED"):
            scorer.score(X)


def test_another_replica_answers_for_one_that_hangs(replicas: Replicas) -> None:
    with loaded(at(*replicas), {"attempt.deadline": "0.3", "deadline": "60", "dtype.x": "float32"}) as scorer:
        replicas[0].behave(delay_ms=2000)
        for _ in range(4):
            assert scorer.score(X).model_version == 2


def test_the_headers_of_the_options_are_received(replicas: Replicas) -> None:
    options = {"header.seldon": "wine-deployment", "header.Namespace": "models", "header.key-bin": "\x20~"}
    with loaded(at(replicas[0]), options) as scorer:
        scorer.score(X)
    headers = grpc_calls(replicas[0])[-1]["headers"]
    assert headers["seldon"] == "wine-deployment"
    assert headers["namespace"] == "models"
    assert headers["key-bin"] == str(b"\x20~")


def test_each_attempt_within_a_trace_is_a_span_that_the_server_continues(replicas: Replicas) -> None:
    traced = TracedBatch()
    with loaded(at(replicas[0]), {"header.seldon": "wine-deployment"}) as scorer:
        replicas[0].behave(failures=("UNAVAILABLE",))
        with traced.scoring():
            scorer.score(X)
    failed, answered = traced.spans()
    headers = grpc_calls(replicas[0])[-1]["headers"]
    traced.check_told(headers, answered)
    assert headers["seldon"] == "wine-deployment"
    assert failed.name == answered.name == "tensorflow.serving.PredictionService/Predict"
    assert (failed.attributes or {})["rpc.response.status_code"] == "UNAVAILABLE"
    assert [span.status.is_unset for span in (failed, answered)] == [False, True]


def test_the_authority_is_the_option_else_the_address(replicas: Replicas) -> None:
    address = f"127.0.0.1:{replicas[0].grpc_port}"
    for options, authority in (({"authority": "wine.models.example"}, "wine.models.example"), ({}, address)):
        with loaded(at(replicas[0]), options) as scorer:
            scorer.score(X)
        assert grpc_calls(replicas[0])[-1]["authority"] == authority


def test_calls_go_to_all_addresses_in_turn(replicas: Replicas) -> None:
    with loaded(at(*replicas), {"dtype.x": "float32"}) as scorer:
        before = [len(grpc_calls(replica)) for replica in replicas]
        # The first calls may be made before both connections stand.
        while any(len(grpc_calls(replica)) == count for replica, count in zip(replicas, before, strict=True)):
            scorer.score(X)
        before = [len(grpc_calls(replica)) for replica in replicas]
        for _ in range(10):
            scorer.score(X)
    answered = [len(grpc_calls(replica)) - count for replica, count in zip(replicas, before, strict=True)]
    assert answered == [5, 5]


def test_several_calls_are_in_flight_together(replicas: Replicas) -> None:
    with loaded(at(replicas[0]), {"deadline": "60"}) as scorer, ThreadPoolExecutor(4) as threads:
        before = len(grpc_calls(replicas[0]))
        replicas[0].behave(delay_ms=1000)
        results = list(threads.map(lambda value: scorer.score({"x": np.full(1, value, np.float32)}), range(4)))
    assert [scores.outputs["y"][0] for scores in results] == [2000, 2001, 2002, 2003]
    assert max(call["in_flight"] for call in grpc_calls(replicas[0])[before:]) > 1


def test_scorers_of_one_target_share_a_channel_that_the_last_one_closes(replicas: Replicas) -> None:
    settings = ChannelSettings(f"dns:///127.0.0.1:{replicas[0].grpc_port}")
    with loaded(at(replicas[0])) as first:
        with loaded(at(replicas[0], path="kinds"), {"deadline": "9", "header.a": "b"}):
            assert CHANNELS.users(settings) == 2
        with loaded(at(replicas[0]), {"authority": "other"}):
            assert CHANNELS.users(settings) == 1
        first.score(X)
    assert CHANNELS.users(settings) == 0


def test_a_server_without_metadata_gets_the_inputs_of_the_mapping(replicas: Replicas) -> None:
    with loaded(at(replicas[1]), inputs={"x": ("temperature",)}) as scorer:
        assert scorer.signature.name == "serving_default"
        assert scorer.signature.inputs == {"x": TensorSpec("x", np.dtype(np.float32), None)}
        assert scorer.score(X).outputs["y"].tolist() == [2001, 2002]


def test_a_server_without_metadata_gets_the_types_of_the_options(replicas: Replicas) -> None:
    options = {"dtype.text": "string", "dtype.whole": "int64", "dtype.real": "float64", "dtype.flag": "bool"}
    with loaded(at(replicas[1], path="kinds"), options, inputs={"text": ("t",), "whole": ("a", "b")}) as scorer:
        dtypes = {name: spec.dtype.name for name, spec in scorer.signature.inputs.items()}
        assert dtypes == {"text": "object", "whole": "int64", "real": "float64", "flag": "bool"}
        assert scorer.score(kinds()).outputs["whole"].tolist()[0] == [2, 3]


def test_a_server_without_metadata_and_no_named_inputs_is_an_error_with_the_remedy(replicas: Replicas) -> None:
    with (
        pytest.raises(ModelLoadError, match=r"GetModelMetadata; name the inputs .* dtype\.INPUT"),
        loaded(at(replicas[1])),
    ):
        pass


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"dtype.x": "float8"}, r"option dtype\.x: 'float8' is not one of float32"),
        ({"keepalive": "0"}, "option keepalive"),
        ({"keepalive.idle": "maybe"}, r"option keepalive\.idle: 'maybe' is not no or yes"),
        ({"format": "row"}, r"unknown option format; known options: .*dtype\.INPUT.*header\.NAME.*keepalive"),
    ],
)
def test_an_option_that_cannot_be_read_is_named(options: Mapping[str, str], text: str) -> None:
    with pytest.raises(ScorerOptionError, match=text), loaded("grpc://127.0.0.1:1/m", options):
        pass


def test_a_certificate_that_is_trusted_makes_tls(replicas: Replicas, certificate: Certificate) -> None:
    location = f"grpcs://127.0.0.1:{replicas[0].grpc_tls_port}/adder"
    with loaded(location, {"tls.ca": str(certificate.certificate)}) as scorer:
        assert scorer.score(X).outputs["y"].tolist() == [2001, 2002]


def test_the_certificate_may_carry_the_name_of_the_authority(replicas: Replicas, certificate: Certificate) -> None:
    location = f"grpcs://127.0.0.1:{replicas[0].grpc_tls_port}/adder"
    options = {"tls.ca": str(certificate.certificate), "authority": "models.example"}
    with loaded(location, options) as scorer:
        scorer.score(X)
    assert grpc_calls(replicas[0])[-1]["authority"] == "models.example"
    with (
        pytest.raises(ModelLoadError, match="UNAVAILABLE"),
        loaded(location, options | {"authority": "other.example", "attempts": "1"}),
    ):
        pass


def test_an_untrusted_certificate_is_rejected(replicas: Replicas) -> None:
    location = f"grpcs://127.0.0.1:{replicas[0].grpc_tls_port}/adder"
    with pytest.raises(ModelLoadError, match="UNAVAILABLE"), loaded(location, {"attempts": "1"}):
        pass


def test_a_late_replica_is_waited_for_and_a_killed_one_fails_no_call(
    replicas: Replicas, serving_models: dict[str, Path]
) -> None:
    victim = start({name: path for name, path in serving_models.items() if name.startswith("adder")})
    try:
        # Nothing listens there yet: this returns because the call is repeated until the server has come up.
        with loaded(at(victim), {"deadline": "120", "attempts": "1000"}) as scorer:
            assert scorer.score(X).model_version == 2
        with loaded(at(replicas[0], victim), {"deadline": "60"}) as scorer:
            _score_while_killed(scorer, replicas[0], victim)
    finally:
        close(victim)


def _score_while_killed(scorer: TensorFlowServingGrpcScorer, survivor: Replica, victim: Replica) -> None:
    """Four threads score; the victim is killed after it has responded; all continue until the survivor did more."""
    victim.behave(delay_ms=20)
    killed = threading.Event()

    def keep_scoring() -> int:
        after = 0
        while after < 25:
            assert scorer.score(X).model_version == 2
            after += killed.is_set()
        return after

    with ThreadPoolExecutor(4) as threads:
        running = [threads.submit(keep_scoring) for _ in range(4)]
        try:
            seen = len(grpc_calls(victim))
            while len(grpc_calls(victim)) < seen + 10:
                assert not any(future.done() for future in running)
            before = len(grpc_calls(survivor))
            victim.kill()
        finally:
            killed.set()
        assert [future.result() for future in running] == [25] * 4
    assert len(grpc_calls(survivor)) >= before + 50


def test_a_replica_that_stops_answering_is_left_and_its_calls_go_elsewhere(replicas: Replicas) -> None:
    options = {"keepalive": "1", "deadline": "60", "dtype.x": "float32"}
    with loaded(at(*replicas), options) as scorer:
        before = len(grpc_calls(replicas[1]))
        while len(grpc_calls(replicas[1])) == before:
            scorer.score(X)
        replicas[1].process.send_signal(signal.SIGSTOP)
        try:
            for _ in range(4):
                assert scorer.score(X).model_version == 2
        finally:
            replicas[1].process.send_signal(signal.SIGCONT)


def test_one_host_is_left_to_grpc_to_resolve_and_several_become_a_list() -> None:
    assert channel_target((Address("models.example", 8500),)) == "dns:///models.example:8500"
    assert channel_target((Address("::1", 8500),)) == "dns:///[::1]:8500"
    assert channel_target((Address("127.0.0.1", 1), Address("127.0.0.1", 2))) == "ipv4:127.0.0.1:1,127.0.0.1:2"
    assert channel_target((Address("::1", 1), Address("::1", 2))) == "ipv6:[::1]:1,[::1]:2"
    with pytest.raises(ModelLoadError, match="IPv4"):
        channel_target((Address("127.0.0.1", 1), Address("::1", 2)))


@pytest.mark.parametrize(
    "array",
    [
        np.array([[1.5, np.nan]], np.float32),
        np.array([1.5, np.inf], np.float64),
        np.array([1.5], np.float16),
        np.array([-1, 2], np.int8),
        np.array([2**63], np.uint64),
        np.array([2**32 - 1], np.uint32),
        np.array([1 + 2j], np.complex64),
        np.array([True, False]),
        np.array([[b"a", b""], [b"\xff", b"b"]], object),
        np.zeros((0, 3), np.float32),
        np.array(7, np.int64),
        np.arange(6, dtype=">i4").reshape(2, 3),
        np.arange(12, dtype=np.float32).reshape(3, 4)[:, ::2],
    ],
)
def test_tensors_carry_arrays_as_tensorflow_reads_and_writes_them(array: Array) -> None:
    tensor = tensor_pb2.TensorProto()
    fill_tensor(tensor, array)
    np.testing.assert_array_equal(tf.make_ndarray(tensor), array)
    read = tensor_array(tf.make_tensor_proto(array.astype(array.dtype.newbyteorder("="))))
    np.testing.assert_array_equal(read, array)
    assert read.dtype == array.dtype.newbyteorder("=")


def test_a_list_of_numbers_may_leave_out_repetitions_of_the_last_one() -> None:
    tensor = tensor_pb2.TensorProto(dtype=1, float_val=[1.0, 2.0])
    tensor.tensor_shape.dim.add(size=4)
    assert tensor_array(tensor).tolist() == [1, 2, 2, 2]
