"""Locations, options, signatures and retries of remote scorers."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.errors import ModelLoadError, ModelUnreachableError, ScorerOptionError, ScoringError
from models.model_topic.descriptor import ModelDescriptor
from models.scorers import (
    open_inference_grpc,
    open_inference_rest,
    remote,
    tensorflow_serving_grpc,
    tensorflow_serving_rest,
)
from models.scorers.remote import Address, OptionReader, RemoteCallError, RemoteOptions, Retries, ServedModel

GRPC = tensorflow_serving_grpc.LOCATION
REST = tensorflow_serving_rest.LOCATION


def read_options(*, secure: bool = True, **options: str) -> RemoteOptions:
    reader = OptionReader({name.replace("__", "."): value for name, value in options.items()})
    read = RemoteOptions.read(reader, secure=secure)
    reader.refuse_others()
    return read


@pytest.mark.parametrize(
    ("location", "served"),
    [
        ("grpc://a:1/m", ServedModel(False, (Address("a", 1),), "m")),
        ("grpcs://a:1,b:2/m/versions/7", ServedModel(True, (Address("a", 1), Address("b", 2)), "m", version=7)),
        ("grpc://[::1]:1/m/labels/stable", ServedModel(False, (Address("::1", 1),), "m", label="stable")),
        ("grpc://a:1/W%C3%A4rme", ServedModel(False, (Address("a", 1),), "Wärme")),
    ],
)
def test_a_grpc_location_names_addresses_model_and_version_or_label(location: str, served: ServedModel) -> None:
    assert GRPC.parse(location) == served


@pytest.mark.parametrize(
    ("location", "served"),
    [
        ("http://a:1/v1/models/m", ServedModel(False, (Address("a", 1),), "m")),
        ("https://a/v1/models/m:predict", ServedModel(True, (Address("a", 443),), "m")),
        ("http://a,b:2/v1/models/m", ServedModel(False, (Address("a", 80), Address("b", 2)), "m")),
        ("http://a:1/v1/models/m/versions/3:predict", ServedModel(False, (Address("a", 1),), "m", version=3)),
        ("http://a:1/x/y/v1/models/m/labels/l", ServedModel(False, (Address("a", 1),), "m", label="l", prefix="/x/y")),
    ],
)
def test_a_rest_location_names_addresses_model_and_version_or_label(location: str, served: ServedModel) -> None:
    assert REST.parse(location) == served


def test_the_versions_of_the_open_inference_protocol_are_texts() -> None:
    pinned = ServedModel(True, (Address("a", 1), Address("b", 2)), "m", label="v3")
    assert open_inference_grpc.LOCATION.parse("grpcs://a:1,b:2/m/versions/v3") == pinned
    for end in ("", "/infer"):
        location = f"https://a:1,b:2/x/v2/models/m/versions/v3{end}"
        assert open_inference_rest.LOCATION.parse(location) == replace(pinned, prefix="/x")
        assert open_inference_rest.LOCATION.parse(f"http://a/v2/models/m{end}").label is None
    for form, wrong in (
        (open_inference_grpc.LOCATION, "grpc://a:1/m/labels/stable"),
        (open_inference_rest.LOCATION, "http://a/v1/models/m"),
    ):
        with pytest.raises(ModelLoadError, match="is not of the form"):
            form.parse(wrong)


@pytest.mark.parametrize(
    "location",
    [
        "",
        "http://a:1/m",
        "grpc://a/m",
        "grpc://a:0/m",
        "grpc://a:70000/m",
        "grpc://user:secret@a:1/m",
        "grpc://a:1,/m",
        "grpc://a:1",
        "grpc://a:1/",
        "grpc://a:1/m/versions/latest",
        "grpc://a:1/m/versions/1/labels/l",
        "grpc://a:1/m?x=y",
    ],
)
def test_a_malformed_location_is_rejected_with_the_expected_form(location: str) -> None:
    with pytest.raises(ModelLoadError, match="/MODEL"):
        GRPC.parse(location)


def test_an_inline_model_without_a_location_is_rejected() -> None:
    with pytest.raises(ModelLoadError, match="needs a modelSourceLocation"):
        REST.parse(None)


def test_options_have_defaults() -> None:
    assert read_options() == RemoteOptions()


def test_options_are_read(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_bytes(b"")
    options = read_options(
        deadline="2.5",
        attempt__deadline="1",
        attempts="3",
        backoff="0.1",
        backoff__limit="0.2",
        header__Seldon="wine",
        authority="models.example:443",
        tls__ca=str(tmp_path / "ca.pem"),
    )
    assert options == RemoteOptions(
        deadline=2.5,
        attempt_deadline=1.0,
        batch_deadline=10.0,
        attempts=3,
        backoff=0.1,
        backoff_limit=0.2,
        headers={"seldon": "wine"},
        authority="models.example:443",
        certificate_authorities=tmp_path / "ca.pem",
    )


def test_an_attempt_may_take_the_whole_deadline_by_default() -> None:
    assert read_options(deadline="60").attempt_deadline == 60


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("deadline", "soon"),
        ("deadline", "0"),
        ("deadline", "nan"),
        ("deadline", "inf"),
        ("attempts", "0"),
        ("attempts", "2.5"),
        ("backoff", "-1"),
        ("authority", "a b"),
        ("authority", "a/b"),
        ("header__a b", "x"),
        ("header__", "x"),
        ("header__grpc-timeout", "x"),
        ("header__name", "line\nbreak"),
        ("header__name", "ä"),
        ("tls__ca", "missing.pem"),
    ],
)
def test_an_option_that_cannot_be_read_is_named(name: str, value: str) -> None:
    with pytest.raises(ScorerOptionError, match=f"option {name.replace('__', '.')}"):
        read_options(secure=True, **{name: value})


def test_an_unknown_option_is_named_beside_the_known_ones() -> None:
    with pytest.raises(ScorerOptionError, match=r"unknown option dedline; known options: .*deadline.*header\.NAME"):
        read_options(dedline="5")


def test_tls_options_of_a_plain_location_are_rejected(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_bytes(b"")
    with pytest.raises(ScorerOptionError, match="does not use TLS"):
        read_options(secure=False, tls__ca=str(tmp_path / "ca.pem"))


def test_a_client_certificate_without_its_key_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "client.pem").write_bytes(b"")
    with pytest.raises(ScorerOptionError, match=r"tls\.certificate and tls\.key"):
        read_options(tls__certificate=str(tmp_path / "client.pem"))


def test_header_values_are_not_shown() -> None:
    assert "hidden" not in repr(read_options(header__authorization="hidden"))


@pytest.mark.parametrize(
    ("names", "wanted", "chosen"),
    [
        (["predict", "serving_default"], "predict", "predict"),
        (["predict", "serving_default"], None, "serving_default"),
        (["predict", "__saved_model_init_op"], None, "predict"),
    ],
)
def test_the_named_signature_is_chosen_else_the_default_else_the_only_one(
    names: list[str], wanted: str | None, chosen: str
) -> None:
    assert remote.choose_signature(names, wanted, "somewhere") == chosen


@pytest.mark.parametrize(("names", "wanted"), [(["a", "b"], "c"), (["a", "b"], None), (["a"], "b")])
def test_an_ambiguous_signature_is_an_error_that_lists_all(names: list[str], wanted: str | None) -> None:
    with pytest.raises(ModelLoadError, match=f"somewhere: .*signatures: {', '.join(names)}"):
        remote.choose_signature(names, wanted, "somewhere")


def test_an_output_that_the_signature_lacks_is_an_error_that_names_all() -> None:
    descriptor = ModelDescriptor("m", "t", outputs={"quality": "score"})
    with pytest.raises(ModelLoadError, match="no output score; outputs: total"):
        remote.wanted_outputs(descriptor, ["total"], "somewhere")


def test_an_output_without_a_row_for_each_row_is_an_error() -> None:
    remote.check_rows({"y": np.zeros((3, 2))}, 3, "somewhere")
    for output in (np.zeros((2,)), np.zeros(())):
        with pytest.raises(ScoringError, match="somewhere: output 'y'"):
            remote.check_rows({"y": output}, 3, "somewhere")


class Server:
    """Fails as told, then answers 42; notes the seconds that each attempt was given."""

    def __init__(self, *transient: bool) -> None:
        self.failures = list(transient)
        self.timeouts: list[float] = []

    def __call__(self, timeout: float) -> int:
        self.timeouts.append(timeout)
        if self.failures:
            raise RemoteCallError("away", status="UNAVAILABLE", transient=self.failures.pop(0))
        return 42


def test_a_passing_failure_is_tried_again() -> None:
    server = Server(True, True)
    assert Retries(RemoteOptions(backoff=0.001)).call(server) == 42
    assert len(server.timeouts) == 3


def test_a_judgement_of_the_server_is_not_tried_again() -> None:
    server = Server(False)
    with pytest.raises(RemoteCallError, match=r"^away$"):
        Retries(RemoteOptions()).call(server)
    assert len(server.timeouts) == 1


def test_attempts_are_limited_and_the_error_gives_their_number() -> None:
    server = Server(*[True] * 5)
    with pytest.raises(RemoteCallError, match=r"away \(after 3 attempts\)") as caught:
        Retries(RemoteOptions(attempts=3, backoff=0.001)).call(server)
    assert caught.value.status == "UNAVAILABLE"
    assert caught.value.transient


@pytest.mark.parametrize("attempts", [1, 3])
def test_a_passing_failure_that_lasts_means_unreachable_also_at_the_first_attempt(attempts: int) -> None:
    with pytest.raises(ModelUnreachableError, match="away") as caught:
        Retries(RemoteOptions(attempts=attempts, backoff=0.001)).call(Server(*[True] * 9))
    assert isinstance(caught.value, RemoteCallError)
    assert "(after 1 " not in str(caught.value)


def test_a_deadline_that_expires_at_the_first_attempt_means_unreachable() -> None:
    server = Server(*[True] * 9)
    with pytest.raises(ModelUnreachableError):
        Retries(RemoteOptions(deadline=1e-9)).call(server)
    assert len(server.timeouts) == 1


def test_a_judgement_of_the_server_does_not_mean_unreachable() -> None:
    with pytest.raises(RemoteCallError) as caught:
        Retries(RemoteOptions(backoff=0.001)).call(Server(True, False))
    assert not isinstance(caught.value, ModelUnreachableError)


def test_a_batch_may_take_four_deadlines_by_default() -> None:
    assert read_options(deadline="60").batch_deadline == 240
    assert read_options(batch__deadline="7").batch_deadline == 7
    assert read_options().batch_deadline == RemoteOptions().batch_deadline


class BrokenClient:
    """A client that cannot even be closed."""

    def close(self) -> None:
        raise OSError("broken")


@pytest.mark.parametrize("error", [ScoringError("no answer"), RuntimeError("no answer")])
def test_a_client_that_cannot_be_closed_does_not_hide_why(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises((ModelLoadError, RuntimeError), match="no answer"), remote.closed_on_failure(BrokenClient()):
        raise error
    assert "broken" in caplog.text


def test_attempts_end_before_the_deadline() -> None:
    started = time.monotonic()
    with pytest.raises(RemoteCallError, match="away"):
        Retries(RemoteOptions(deadline=0.2, attempts=1000, backoff=0.05, backoff_limit=0.05)).call(Server(*[True] * 99))
    assert time.monotonic() - started < 2


def test_each_attempt_gets_the_rest_of_the_deadline() -> None:
    server = Server(True)
    Retries(RemoteOptions(deadline=30, attempt_deadline=30, backoff=0.001)).call(server)
    first, second = server.timeouts
    assert 29 < second < first <= 30


def test_an_attempt_is_given_no_more_than_its_own_deadline() -> None:
    server = Server(True)
    Retries(RemoteOptions(deadline=30, attempt_deadline=0.5, backoff=0.001)).call(server)
    assert server.timeouts == [0.5, 0.5]


def test_there_is_no_pause_before_another_address_is_tried() -> None:
    server = Server(True, True)
    started = time.monotonic()
    assert Retries(RemoteOptions(backoff=20, backoff_limit=20, deadline=30), addresses=3).call(server) == 42
    assert time.monotonic() - started < 10
