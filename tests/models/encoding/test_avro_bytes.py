from __future__ import annotations

import io
import tracemalloc
from typing import Any

import fastavro
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from models.encoding import avro_bytes
from models.tensors import Array
from tests.models.fakes import LONGS, TEXTS


def read(schema: Any, content: bytes) -> Any:
    """The value that fastavro reads, which must consume all bytes."""
    buffer = io.BytesIO(content)
    value = fastavro.schemaless_reader(buffer, fastavro.parse_schema(schema), None)
    assert buffer.tell() == len(content)
    return value


@given(LONGS)
def test_a_long_is_read_back(value: int) -> None:
    assert read("long", avro_bytes.encode_long(value)) == value


@pytest.mark.parametrize("value", [0, -1, 1, 63, 64, -64, -65, 2**63 - 1, -(2**63)])
def test_the_edges_of_a_long_are_read_back(value: int) -> None:
    assert read("long", avro_bytes.encode_long(value)) == value


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1])
def test_a_number_of_more_than_64_bits_is_rejected(value: int) -> None:
    with pytest.raises(OverflowError, match=str(value)):
        avro_bytes.encode_long(value)


def test_every_small_long_is_read_back() -> None:
    for value in range(-5, 5000):
        assert read("long", avro_bytes.encode_long(value)) == value


def test_large_longs_are_not_cached() -> None:
    avro_bytes.encode_long(2**40)
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for value in range(2**40, 2**40 + 4096):
        avro_bytes.encode_long(value)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert after - before < 4096 * 10


@given(st.binary(max_size=200), TEXTS)
def test_bytes_and_texts_are_read_back(content: bytes, text: str) -> None:
    assert read("bytes", avro_bytes.encode_bytes(content)) == content
    assert read("string", avro_bytes.encode_string(text)) == text


@given(st.none() | TEXTS, st.none() | LONGS)
def test_unions_with_null_are_read_back(text: str | None, number: int | None) -> None:
    assert read(["null", "string"], avro_bytes.encode_optional(text)) == text
    assert read(["null", "long"], avro_bytes.encode_optional(number)) == number


@given(st.lists(LONGS, max_size=20))
def test_an_array_is_read_back(values: list[int]) -> None:
    content = avro_bytes.encode_array(len(values), b"".join(map(avro_bytes.encode_long, values)))
    assert read({"type": "array", "items": "long"}, content) == values


DTYPES = st.one_of(
    npst.floating_dtypes(endianness="?"),
    npst.integer_dtypes(endianness="?"),
    npst.unsigned_integer_dtypes(endianness="?", sizes=(8, 16, 32)),
    npst.boolean_dtypes(),
)
ARRAYS = DTYPES.flatmap(lambda dtype: npst.arrays(dtype, npst.array_shapes(min_dims=1, max_dims=3, min_side=0)))


def kind_of(array: Array) -> str:
    if array.dtype.kind == "f":
        return "double" if array.dtype.itemsize >= 8 else "float"
    return "boolean" if array.dtype.kind == "b" else "long"


def encode_all(array: Array) -> bytes:
    (content,) = avro_bytes.encode_items(array, np.array([0, array.size])).to_pylist()
    return bytes(content)


@given(st.lists(LONGS, max_size=30))
def test_each_of_many_longs_is_read_back(values: list[int]) -> None:
    encoded = avro_bytes.encode_longs(np.array(values, np.int64)).to_pylist()
    assert [read("long", one) for one in encoded] == values


def test_longs_of_every_width_are_encoded_as_single_ones() -> None:
    edges = [sign * (1 << bits) + more for bits in range(63) for sign in (1, -1) for more in (-1, 0, 1)]
    edges += [2**63 - 1, -(2**63)]
    assert avro_bytes.encode_longs(np.array(edges)).to_pylist() == list(map(avro_bytes.encode_long, edges))


@pytest.mark.parametrize("value", [2**63, 2**64 - 1])
def test_an_unsigned_number_that_is_no_long_is_rejected(value: int) -> None:
    with pytest.raises(OverflowError, match=str(value)):
        avro_bytes.encode_longs(np.array([0, value], np.uint64))


@given(ARRAYS, st.data())
def test_runs_of_items_are_read_back(array: Array, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, array.size), max_size=8)))
    bounds = np.array([0, *cuts, array.size])
    runs = avro_bytes.encode_items(array, bounds).to_pylist()
    schema = {"type": "array", "items": kind_of(array)}
    for run, start, end in zip(runs, bounds[:-1], bounds[1:], strict=True):
        values = read(schema, avro_bytes.encode_array(int(end - start), run))
        np.testing.assert_array_equal(np.array(values, array.dtype), array.ravel()[start:end])


@given(ARRAYS)
def test_items_of_every_number_type_and_byte_order_are_read_back(array: Array) -> None:
    content = avro_bytes.encode_array(array.size, encode_all(array))
    values = read({"type": "array", "items": kind_of(array)}, content)
    np.testing.assert_array_equal(np.array(values, array.dtype), array.ravel())


@given(ARRAYS)
def test_items_of_an_array_in_another_memory_order_keep_their_order(array: Array) -> None:
    turned = np.asfortranarray(array)[::-1]
    content = avro_bytes.encode_array(turned.size, encode_all(turned))
    values = read({"type": "array", "items": kind_of(array)}, content)
    np.testing.assert_array_equal(np.array(values, array.dtype), array[::-1].ravel())


@given(ARRAYS)
def test_the_width_of_an_item_is_its_encoded_size(array: Array) -> None:
    width = avro_bytes.item_width(array)
    if width is not None:
        assert len(avro_bytes.encode_fixed_items(array)) == array.size * width


@given(st.lists(st.binary(max_size=5) | TEXTS, max_size=10))
def test_texts_and_bytes_are_read_back_as_bytes(items: list[bytes | str]) -> None:
    array = np.empty(len(items), object)
    array[:] = items
    content = avro_bytes.encode_array(array.size, encode_all(array))
    expected = [item if isinstance(item, bytes) else item.encode() for item in items]
    assert read({"type": "array", "items": "bytes"}, content) == expected


def test_numpys_own_texts_are_read_back_as_bytes() -> None:
    for array in (np.array(["é", ""]), np.array(["é".encode(), b""])):
        content = avro_bytes.encode_array(2, encode_all(array))
        assert read({"type": "array", "items": "bytes"}, content) == ["é".encode(), b""]
