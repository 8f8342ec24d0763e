from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.artifacts.ubjson import check_ubjson
from models.errors import ModelLoadError

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


def text(value: str) -> bytes:
    content = value.encode()
    return b"L" + struct.pack(">q", len(content)) + content


def encoded(value: Any, counted: bool) -> bytes:
    """UBJSON as its standard describes it, in containers with either a count of their values or an end marker."""
    if value is None:
        return b"Z"
    if isinstance(value, bool):
        return b"T" if value else b"F"
    if isinstance(value, int):
        return b"L" + struct.pack(">q", value)
    if isinstance(value, float):
        return b"D" + struct.pack(">d", value)
    if isinstance(value, str):
        return b"S" + text(value)
    count = b"#L" + struct.pack(">q", len(value)) if counted else b""
    if isinstance(value, list):
        return b"[" + count + b"".join(encoded(one, counted) for one in value) + (b"" if counted else b"]")
    pairs = b"".join(text(name) + encoded(one, counted) for name, one in value.items())
    return b"{" + count + pairs + (b"" if counted else b"}")


@given(VALUES, st.booleans())
def test_a_whole_value_passes_and_no_part_of_it_does(value: Any, counted: bool) -> None:
    content = encoded(value, counted)
    check_ubjson(content)
    for end in range(len(content)):
        with pytest.raises(ModelLoadError, match="cut off"):
            check_ubjson(content[:end])
    with pytest.raises(ModelLoadError, match="1 bytes follow"):
        check_ubjson(content + b"Z")


@given(st.binary(max_size=60))
def test_any_bytes_pass_or_are_refused(content: bytes) -> None:
    try:
        check_ubjson(content)
    except ModelLoadError as error:
        assert str(error)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"[" * 100, "nested too deeply"),
        (b"[$U#L" + struct.pack(">q", 2**62), "cut off"),
        (b"[$U#L" + struct.pack(">q", -1), "cut off"),
        (b"SL" + struct.pack(">q", -5) + b"hello", "cut off"),
        (b"[$U]", "should be a number of values, but is not"),
        (b"x", "byte 0 of the model is not the start of a UBJSON value"),
    ],
)
def test_hostile_bytes_are_refused_at_once(content: bytes, reason: str) -> None:
    with pytest.raises(ModelLoadError, match=reason):
        check_ubjson(content)
