from __future__ import annotations

from pathlib import Path

import pytest

from models.errors import ScorerOptionError
from models.scorers.option_reader import OptionReader
from models.scorers.servers.remote_options import RemoteOptions


def read_options(*, secure: bool = True, **options: str) -> RemoteOptions:
    reader = OptionReader({name.replace("__", "."): value for name, value in options.items()})
    read = RemoteOptions.read(reader, secure=secure)
    reader.refuse_others()
    return read


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


def test_a_batch_may_take_four_deadlines_by_default() -> None:
    assert read_options(deadline="60").batch_deadline == 240
    assert read_options(batch__deadline="7").batch_deadline == 7
    assert read_options().batch_deadline == RemoteOptions().batch_deadline
