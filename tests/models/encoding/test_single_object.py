from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.encoding.single_object import HEADER_LENGTH, SingleObjectCodec, bundled_codec, fingerprint
from models.schemas import bundled_names, bundled_schema
from tests.models.fakes import LONGS, TEXTS

SCHEMA: dict[str, Any] = {
    "type": "record",
    "name": "Pair",
    "fields": [{"name": "text", "type": "string"}, {"name": "number", "type": "long"}],
}


def test_the_fingerprint_is_that_of_the_specification() -> None:
    # From Avro's own test data, share/test/data/schema-tests.txt.
    assert fingerprint_of("null") == 7195948357588979594
    assert fingerprint_of("int") == 8247732601305521295
    assert fingerprint_of("string") == -8142146995180207161


def fingerprint_of(kind: str) -> int:
    return int.from_bytes(fingerprint({"type": kind}), "little", signed=True)


def test_documentation_does_not_change_the_fingerprint() -> None:
    assert fingerprint({**SCHEMA, "doc": "a pair"}) == fingerprint(SCHEMA)
    assert fingerprint({**SCHEMA, "name": "Other"}) != fingerprint(SCHEMA)


@given(TEXTS, LONGS)
def test_a_value_is_read_as_it_was_written(text: str, number: int) -> None:
    codec = SingleObjectCodec(SCHEMA)
    message = codec.encode({"text": text, "number": number})
    assert codec.matches(message)
    assert codec.decode(message) == {"text": text, "number": number}


@given(st.binary())
def test_arbitrary_bytes_raise_nothing_but_a_value_error(content: bytes) -> None:
    codec = SingleObjectCodec(SCHEMA)
    for message in (content, codec.header + content):
        try:
            codec.decode(message)
        except ValueError as error:
            assert "Pair" in str(error)


def test_the_error_explains_what_is_wrong_with_a_message() -> None:
    codec = SingleObjectCodec(SCHEMA)
    message = codec.encode({"text": "a", "number": 1})
    with pytest.raises(ValueError, match="not a Pair: its first bytes are none"):
        codec.decode(b"")
    with pytest.raises(ValueError, match="broken Pair"):
        codec.decode(message[:-1])
    with pytest.raises(ValueError, match="3 bytes follow its end"):
        codec.decode(message + b"123")


def test_a_value_that_does_not_follow_the_schema_is_refused() -> None:
    with pytest.raises((ValueError, TypeError)):
        SingleObjectCodec(SCHEMA).encode({"text": None, "number": 1})


def test_every_bundled_schema_is_one_and_has_a_header_of_its_own() -> None:
    names = bundled_names()
    assert {"model_descriptor", "model_pointer", "dead_letter", "recommender", "wine", "transaction"} <= set(names)
    headers = {bundled_codec(name).header for name in names}
    assert len(headers) == len(names)
    assert {len(header) for header in headers} == {HEADER_LENGTH}


def test_bundled_schemas_are_given_as_the_files_have_them() -> None:
    text = files("models").joinpath("schemas", "wine.avsc").read_text(encoding="utf-8")
    assert bundled_schema("wine") == json.loads(text)
    with pytest.raises(FileNotFoundError):
        bundled_schema("nothing")


def test_a_message_is_what_fastavro_writes_behind_the_header() -> None:
    message = SingleObjectCodec(SCHEMA).encode({"text": "ab", "number": -1})
    assert message[HEADER_LENGTH:] == b"\x04ab\x01"
    assert message[:2] == b"\xc3\x01"
    assert fastavro.parse_schema(SCHEMA)
