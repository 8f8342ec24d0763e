"""The REST scorer against real server processes over real SavedModels."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.errors import ModelLoadError, ScorerOptionError, ScoringError
from models.results.decoder import ResultDecoder
from models.routing.plan import implicit_plan
from models.scorers import load_scorer
from models.scorers.servers.remote_calls import RemoteCallError
from models.scorers.servers.remote_options import RemoteOptions
from models.scorers.servers.rest_client import AddressRing, RestClient, RestOptions
from models.scorers.servers.served_location import Address, ServedModel
from models.scorers.servers.tensorflow_serving_rest import (
    TensorFlowServingRestScorer,
    columnar_outputs,
    load,
    row_outputs,
)
from models.serving.assembly import ScoringSettings, score_batch
from models.serving.registry import ModelRegistry
from models.tensors import Array, TensorSpec
from models.text import SERVER_TEXT_LIMIT, clean_text
from tests.certificates import Certificate
from tests.http_server import QuietHandler, http_server
from tests.models.fakes import X_SCHEMA, batch_of, fake_model, published
from tests.models.scorers.servers.tensorflow_serving_replica import Replica, close, free_ports, source, start
from tests.models.scorers.servers.traced_batch import TracedBatch

Replicas = tuple[Replica, Replica]

X = {"x": np.array([1, 2], np.float32)}
BOTH_FORMATS = pytest.mark.parametrize("format", ["row", "columnar"])


@contextmanager
def loaded(
    location: str, options: Mapping[str, str] | None = None, **fields: Any
) -> Iterator[TensorFlowServingRestScorer]:
    scorer = load(source(location, "tensorflow-serving-rest", options=options or {}, **fields))
    try:
        yield scorer
    finally:
        scorer.close()


def at(*replicas: Replica, path: str = "adder") -> str:
    return f"http://{','.join(f'127.0.0.1:{replica.rest_port}' for replica in replicas)}/v1/models/{path}"


def rest_calls(replica: Replica) -> list[dict[str, Any]]:
    return [call for call in replica.calls() if call["protocol"] == "rest"]


@BOTH_FORMATS
def test_rows_are_scored_by_the_newest_version(replicas: Replicas, format: str) -> None:
    with loaded(at(replicas[0]), {"format": format}) as scorer:
        scores = scorer.score(X)
    np.testing.assert_array_equal(scores.outputs["y"], [2001, 2002])
    assert scores.outputs["y"].dtype == np.float32
    assert scores.model_version is None


def test_the_scorer_is_found_by_its_model_type(replicas: Replicas) -> None:
    scorer = load_scorer(source(at(replicas[0]), "tensorflow-serving-rest"))
    assert isinstance(scorer, TensorFlowServingRestScorer)
    scorer.close()


def test_a_remote_scorer_has_a_signature_and_an_address_but_no_digest(replicas: Replicas) -> None:
    with loaded(at(replicas[0])) as scorer:
        assert scorer.signature.name == "serving_default"
        assert scorer.signature.inputs == {"x": TensorSpec("x", np.dtype(np.float32), (None,))}
        assert scorer.signature.outputs == {"y": TensorSpec("y", np.dtype(np.float32), (None,))}
        assert scorer.address == at(replicas[0])
        assert scorer.digest is None


@pytest.mark.parametrize(
    ("path", "version"),
    [("adder/versions/1", 1), ("adder/versions/1:predict", 1), ("adder/labels/stable", None)],
)
def test_a_version_is_picked_by_number_or_label(replicas: Replicas, path: str, version: int | None) -> None:
    with loaded(at(replicas[0], path=path)) as scorer:
        scores = scorer.score(X)
    np.testing.assert_array_equal(scores.outputs["y"], [1001, 1002])
    assert scores.model_version == version


def kinds(rows: int = 2) -> dict[str, Array]:
    return {
        "text": np.array([b'a\xff"\n', b""], object)[:rows],
        "whole": np.array([[1, 2], [3, 2**62]], np.int64)[:rows],
        "real": np.array([0.1, -np.inf])[:rows],
        "flag": np.array([True, False])[:rows],
    }


@BOTH_FORMATS
def test_strings_integers_floats_and_booleans_pass_unchanged(replicas: Replicas, format: str) -> None:
    with loaded(at(replicas[0], path="kinds"), {"format": format}) as scorer:
        outputs = scorer.score(kinds()).outputs
        assert {name: spec.dtype for name, spec in scorer.signature.outputs.items()} == {
            name: array.dtype for name, array in outputs.items()
        }
    assert outputs["text"].tolist() == [b'a\xff"\na\xff"\n', b""]
    assert outputs["text_bytes"].tolist() == [[b'a\xff"\n', b'a\xff"\n'], [b"", b""]]
    assert outputs["whole"].tolist() == [[2, 3], [4, 2**62 + 1]]
    assert outputs["real"].tolist() == [0.1, -np.inf]
    assert outputs["flag"].tolist() == [False, True]


@BOTH_FORMATS
def test_numbers_that_json_does_not_have_pass_unchanged(replicas: Replicas, format: str) -> None:
    values = np.array([np.nan, np.inf, -np.inf, -0.0, 1e-45, 3.4e38], np.float32)
    with loaded(at(replicas[0], path="adder"), {"format": format}) as scorer:
        np.testing.assert_array_equal(scorer.score({"x": values}).outputs["y"], values + 2000)


@BOTH_FORMATS
def test_no_rows_give_no_rows(replicas: Replicas, format: str) -> None:
    with loaded(at(replicas[0], path="kinds"), {"format": format}) as scorer:
        outputs = scorer.score(kinds(rows=0)).outputs
    shapes = {"text": (0,), "text_bytes": (0, 2), "whole": (0, 2), "real": (0,), "flag": (0,)}
    assert {name: array.shape for name, array in outputs.items()} == shapes


def test_only_the_outputs_that_the_descriptor_takes_are_given(replicas: Replicas) -> None:
    with loaded(at(replicas[0], path="kinds"), outputs={"denied": "flag"}) as scorer:
        assert set(scorer.score(kinds()).outputs) == {"flag"}


@BOTH_FORMATS
def test_the_only_signature_is_taken_whatever_its_name(replicas: Replicas, format: str) -> None:
    with loaded(at(replicas[0], path="wine"), {"format": format}) as scorer:
        assert scorer.signature.name == "predict"
        scores = scorer.score({"rows": np.ones((2, 3), np.float32)})
    assert scores.outputs["total"].tolist() == [3, 3]


def test_the_signature_that_the_descriptor_names_is_taken(replicas: Replicas) -> None:
    with loaded(at(replicas[0], path="ambiguous"), signature="double") as scorer:
        assert scorer.score({"rows": np.ones((1, 3), np.float32)}).outputs["total"].tolist() == [6]


@pytest.mark.parametrize("signature", [None, "triple"])
def test_an_ambiguous_signature_is_an_error_that_lists_all(replicas: Replicas, signature: str | None) -> None:
    location = at(replicas[0], path="ambiguous")
    with pytest.raises(ModelLoadError, match="signatures: double, single"), loaded(location, signature=signature):
        pass


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("unknown", r"404: Servable not found for request: Latest\(unknown\)"),
        ("adder/versions/9", r"404: Servable not found for request: Specific\(adder, 9\)"),
        ("adder/labels/x", "400: Unrecognized servable version label: x"),
    ],
)
def test_a_model_that_the_server_lacks_is_an_error_in_the_servers_words(
    replicas: Replicas, path: str, text: str
) -> None:
    with pytest.raises(ModelLoadError, match=text) as caught, loaded(at(replicas[0], path=path)):
        pass
    assert at(replicas[0], path=path) in str(caught.value)


def test_an_unreachable_server_is_an_error_at_load() -> None:
    location = f"http://127.0.0.1:{free_ports(1)[0]}/v1/models/adder"
    with (
        pytest.raises(ModelLoadError, match=rf"{location}.*refused.*\(after 2 attempts\)"),
        loaded(location, {"attempts": "2"}),
    ):
        pass


@BOTH_FORMATS
def test_bad_inputs_are_an_error_in_the_servers_words_and_are_not_sent_again(replicas: Replicas, format: str) -> None:
    with loaded(at(replicas[0], path="kinds"), {"format": format}) as scorer:
        before = len(rest_calls(replicas[0]))
        with pytest.raises(RemoteCallError, match=r"400: .*(Missing named|Failed to process)") as caught:
            scorer.score({"text": kinds()["text"], "whole": kinds()["whole"]})
    assert at(replicas[0], path="kinds:predict") in str(caught.value)
    assert not caught.value.transient
    assert len(rest_calls(replicas[0])) == before + 1


@BOTH_FORMATS
def test_inputs_that_json_cannot_carry_are_a_scoring_error(replicas: Replicas, format: str) -> None:
    with loaded(at(replicas[0]), {"format": format}) as scorer:
        for array in (np.array([1, None], object), np.array([1j])):
            with pytest.raises(ScoringError, match="cannot be written as JSON"):
                scorer.score({"x": array})


@pytest.mark.parametrize("failure", ["UNAVAILABLE", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"])
def test_a_passing_failure_is_not_seen(replicas: Replicas, failure: str) -> None:
    with loaded(at(replicas[0])) as scorer:
        replicas[0].behave(failures=(failure, failure))
        assert scorer.score(X).outputs["y"].tolist() == [2001, 2002]


def test_a_lasting_failure_is_reported_with_the_number_of_attempts(replicas: Replicas) -> None:
    with loaded(at(replicas[0]), {"attempts": "3", "backoff": "0.01"}) as scorer:
        replicas[0].behave(failures=("UNAVAILABLE",) * 9)
        with pytest.raises(RemoteCallError, match=r"503: made to fail with UNAVAILABLE \(after 3 attempts\)"):
            scorer.score(X)


def test_a_call_ends_at_its_deadline(replicas: Replicas) -> None:
    with loaded(at(replicas[0]), {"deadline": "1.5"}) as scorer:
        scorer.score(X)
        replicas[0].behave(delay_ms=4000)
        with pytest.raises(RemoteCallError, match="timed out") as caught:
            scorer.score(X)
    assert caught.value.transient


HANGING = 5_000
DEADLINE = {"deadline": "1.5"}


def served(scorer: Any) -> ModelRegistry:
    """A registry in which this scorer serves the records of the tests."""
    version = published(1, data_type="m")
    registry = ModelRegistry("worker")
    registry.update({"m": implicit_plan((version,))})
    registry.loaded(version, fake_model(version, scorer))
    return registry


def score_records(registry: ModelRegistry, count: int) -> list[str | None]:
    """The error of each of this many records."""
    values = [X_SCHEMA.codec.encode({"x": float(number), "dataType": "m"}) for number in range(count)]
    scored = score_batch(batch_of(values), registry, ScoringSettings({"records": X_SCHEMA}, "results", "dead-letters"))
    decoder = ResultDecoder(X_SCHEMA.codec.embedding)
    results = [decoder.decode(message.value or b"") for message in scored.outgoing]
    return [result["modelResultMetadata"]["errors"] for result in results]


@pytest.mark.parametrize(
    ("model_type", "port", "path"),
    [("tensorflow-serving-rest", "rest_port", "/v1/models/adder"), ("tensorflow-serving-grpc", "grpc_port", "/adder")],
)
def test_a_server_that_hangs_costs_a_large_batch_one_call(
    replicas: Replicas, model_type: str, port: str, path: str
) -> None:
    scheme = "http" if port == "rest_port" else "grpc"
    location = f"{scheme}://127.0.0.1:{getattr(replicas[0], port)}{path}"
    registry = served(load_scorer(source(location, model_type, options=DEADLINE)))
    assert score_records(registry, 10) == [None] * 10
    before = len(replicas[0].calls())
    replicas[0].behave(delay_ms=HANGING)
    errors = score_records(registry, 2000)
    replicas[0].behave()
    assert len(replicas[0].calls()) - before == 1
    assert len(errors) == 2000
    assert len(set(errors)) == 1
    assert "timed out" in (errors[0] or "") or "DEADLINE_EXCEEDED" in (errors[0] or "")
    assert score_records(registry, 10) == [None] * 10
    registry.close()


def test_a_server_that_refuses_every_batch_costs_a_few_calls(replicas: Replicas) -> None:
    with loaded(at(replicas[0])) as scorer:
        registry = served(scorer)
        before = len(rest_calls(replicas[0]))
        replicas[0].behave(failures=("INVALID_ARGUMENT",) * 4000)
        errors = score_records(registry, 2000)
        replicas[0].behave()
        assert len(rest_calls(replicas[0])) - before <= 20
        assert len(set(errors)) == 1
        assert "made to fail with INVALID_ARGUMENT" in (errors[0] or "")
        assert score_records(registry, 10) == [None] * 10


def test_a_server_lost_during_a_batch_costs_the_attempts_of_one_call(replicas: Replicas) -> None:
    with loaded(at(replicas[0]), DEADLINE) as scorer:
        registry = served(scorer)
        before = len(rest_calls(replicas[0]))
        replicas[0].behave(failures=("INVALID_ARGUMENT", *["UNAVAILABLE"] * 40))
        errors = score_records(registry, 500)
        replicas[0].behave()
        assert len(rest_calls(replicas[0])) - before < 20
        assert all("UNAVAILABLE" in (error or "") for error in errors)


def test_an_error_text_of_a_server_is_one_short_line_that_can_be_encoded(replicas: Replicas) -> None:
    long = "x" * 1_000_000
    for text in (long, "line\nbreak \ud800", f"\ud800{long}"):
        with one_answer(400, json.dumps({"error": text}).encode()) as port:
            served = ServedModel(False, (Address("127.0.0.1", port),), "m")
            client = RestClient(served, RemoteOptions(), RestOptions())
            with pytest.raises(RemoteCallError) as caught:
                client.call("POST", "/v1/models/m:predict", b"{}")
            client.close()
        said = str(caught.value).partition(": 400: ")[2]
        assert said == clean_text(text, SERVER_TEXT_LIMIT)
        assert said.encode()


@contextmanager
def one_answer(status: int, body: bytes) -> Iterator[int]:
    """The port of a server that responds to every POST with this."""

    class Handler(QuietHandler):
        def do_POST(self) -> None:
            self.body()
            self.send(status, body)

    with http_server(Handler) as host:
        yield int(host.rpartition(":")[2])


def test_another_replica_answers_for_one_that_hangs(replicas: Replicas) -> None:
    with loaded(at(*replicas), {"attempt.deadline": "0.3", "deadline": "60"}) as scorer:
        replicas[0].behave(delay_ms=2000)
        for _ in range(4):
            assert scorer.score(X).outputs["y"].tolist() == [2001, 2002]


def test_the_headers_of_the_options_are_received(replicas: Replicas) -> None:
    with loaded(at(replicas[0]), {"header.seldon": "wine-deployment", "header.Namespace": "models"}) as scorer:
        scorer.score(X)
    headers = rest_calls(replicas[0])[-1]["headers"]
    assert headers["seldon"] == "wine-deployment"
    assert headers["namespace"] == "models"
    assert headers["content-type"] == "application/json"


def test_each_attempt_within_a_trace_is_a_span_that_the_server_continues(replicas: Replicas) -> None:
    traced = TracedBatch()
    with loaded(at(replicas[0]), {"header.seldon": "wine-deployment"}) as scorer:
        replicas[0].behave(failures=("UNAVAILABLE",))
        with traced.scoring():
            scorer.score(X)
    failed, answered = traced.spans()
    call = rest_calls(replicas[0])[-1]
    traced.check_told(call["headers"], answered)
    assert call["headers"]["seldon"] == "wine-deployment"
    assert failed.name == answered.name == f"POST {call['path']}"
    assert [(span.attributes or {})["http.response.status_code"] for span in (failed, answered)] == [503, 200]
    assert [span.status.is_unset for span in (failed, answered)] == [False, True]


def test_the_authority_is_the_option_else_the_address(replicas: Replicas) -> None:
    address = f"127.0.0.1:{replicas[0].rest_port}"
    for options, authority in (({"authority": "wine.models.example"}, "wine.models.example"), ({}, address)):
        with loaded(at(replicas[0]), options) as scorer:
            scorer.score(X)
        assert rest_calls(replicas[0])[-1]["authority"] == authority


def test_an_ingress_may_put_a_path_before_the_api(replicas: Replicas) -> None:
    with loaded(f"http://127.0.0.1:{replicas[0].rest_port}/ingress/v1/models/adder") as scorer:
        scorer.score(X)
    assert rest_calls(replicas[0])[-1]["path"] == "/ingress/v1/models/adder:predict"


def test_calls_go_to_all_addresses_in_turn(replicas: Replicas) -> None:
    with loaded(at(*replicas)) as scorer:
        before = [len(rest_calls(replica)) for replica in replicas]
        for _ in range(10):
            scorer.score(X)
    answered = [len(rest_calls(replica)) - count for replica, count in zip(replicas, before, strict=True)]
    assert answered == [5, 5]


def test_several_calls_are_in_flight_together(replicas: Replicas) -> None:
    with loaded(at(replicas[0]), {"deadline": "60"}) as scorer, ThreadPoolExecutor(4) as threads:
        before = len(rest_calls(replicas[0]))
        replicas[0].behave(delay_ms=1000)
        results = list(threads.map(lambda value: scorer.score({"x": np.full(1, value, np.float32)}), range(4)))
    assert [scores.outputs["y"][0] for scores in results] == [2000, 2001, 2002, 2003]
    assert max(call["in_flight"] for call in rest_calls(replicas[0])[before:]) > 1


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"format": "csv"}, "option format: 'csv' is not columnar or row"),
        ({"connections": "0"}, "option connections"),
        ({"tls.insecure": "true"}, r"option tls\.insecure: 'true' is not no or yes"),
        ({"tls.insecure": "yes"}, r"option tls\.insecure: the location does not use TLS"),
        ({"keepalive": "1"}, r"unknown option keepalive; known options: .*connections.*format.*tls\.insecure"),
    ],
)
def test_an_option_that_cannot_be_read_is_named(options: Mapping[str, str], text: str) -> None:
    with pytest.raises(ScorerOptionError, match=text), loaded("http://127.0.0.1:1/v1/models/m", options):
        pass


def test_a_certificate_that_is_trusted_makes_tls(replicas: Replicas, certificate: Certificate) -> None:
    location = f"https://127.0.0.1:{replicas[0].rest_tls_port}/v1/models/adder"
    with loaded(location, {"tls.ca": str(certificate.certificate)}) as scorer:
        assert scorer.score(X).outputs["y"].tolist() == [2001, 2002]


def test_the_certificate_may_carry_the_name_of_the_authority(replicas: Replicas, certificate: Certificate) -> None:
    location = f"https://127.0.0.1:{replicas[0].rest_tls_port}/v1/models/adder"
    options = {"tls.ca": str(certificate.certificate), "authority": "models.example"}
    with loaded(location, options) as scorer:
        scorer.score(X)
    assert rest_calls(replicas[0])[-1]["authority"] == "models.example"
    options["authority"] = "other.example"
    with pytest.raises(ModelLoadError, match=r"'other\.example' doesn't match"), loaded(location, options):
        pass


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_an_untrusted_certificate_is_rejected_unless_the_option_allows_it(replicas: Replicas) -> None:
    location = f"https://127.0.0.1:{replicas[0].rest_tls_port}/v1/models/adder"
    with pytest.raises(ModelLoadError, match="CERTIFICATE_VERIFY_FAILED") as caught, loaded(location):
        pass
    assert "attempts" not in str(caught.value)
    for options in ({"tls.insecure": "yes"}, {"tls.insecure": "yes", "authority": "other.example"}):
        with loaded(location, options) as scorer:
            assert scorer.score(X).outputs["y"].tolist() == [2001, 2002]


def test_a_late_replica_is_waited_for_and_a_killed_one_fails_no_call(
    replicas: Replicas, serving_models: dict[str, Path]
) -> None:
    victim = start({name: path for name, path in serving_models.items() if name.startswith("adder")})
    try:
        # Nothing listens there yet: this returns because the call is repeated until the server has come up.
        with loaded(at(victim), {"deadline": "120", "attempts": "1000"}) as scorer:
            assert scorer.score(X).outputs["y"].tolist() == [2001, 2002]
        with loaded(at(replicas[0], victim), {"deadline": "60"}) as scorer:
            _score_while_killed(scorer, replicas[0], victim)
    finally:
        close(victim)


def _score_while_killed(scorer: TensorFlowServingRestScorer, survivor: Replica, victim: Replica) -> None:
    """Four threads score; the victim is killed after it has responded; all continue until the survivor did more."""
    victim.behave(delay_ms=20)
    killed = threading.Event()

    def keep_scoring() -> int:
        after = 0
        while after < 25:
            assert scorer.score(X).outputs["y"].tolist() == [2001, 2002]
            after += killed.is_set()
        return after

    with ThreadPoolExecutor(4) as threads:
        running = [threads.submit(keep_scoring) for _ in range(4)]
        try:
            seen = len(rest_calls(victim))
            while len(rest_calls(victim)) < seen + 10:
                assert not any(future.done() for future in running)
            before = len(rest_calls(survivor))
            victim.kill()
        finally:
            killed.set()
        assert [future.result() for future in running] == [25] * 4
    assert len(rest_calls(survivor)) >= before + 50


def test_an_address_that_failed_is_left_out_unless_all_have() -> None:
    first, second = Address("a", 1), Address("b", 1)
    ring = AddressRing([first, second])
    ring.failed(first)
    assert [ring.next() for _ in range(3)] == [second] * 3
    ring.failed(second)
    assert {ring.next(), ring.next()} == {first, second}
    ring.answered(first)
    assert [ring.next() for _ in range(3)] == [first] * 3


def test_an_answer_that_does_not_follow_the_signature_is_not_taken() -> None:
    y = TensorSpec("y", np.dtype(np.float32), (None,))
    text = TensorSpec("text", np.dtype(object), (None,))
    columnar: list[Any] = [{}, {"outputs": ["a"]}, {"outputs": [[1], [1, 2]]}, []]
    for answer in columnar:
        with pytest.raises((KeyError, TypeError, ValueError)):
            columnar_outputs(answer, {"y": y})
    rows: list[Any] = [{"predictions": None}, {"predictions": [{"y": 1}]}, {"predictions": [1]}]
    for answer in rows:
        with pytest.raises((KeyError, TypeError, ValueError)):
            row_outputs(answer, {"y": y, "text": text})
    with pytest.raises(TypeError):
        columnar_outputs({"outputs": [1]}, {"text": text})
