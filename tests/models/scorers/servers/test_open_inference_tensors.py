"""The binary form of the Open Inference protocol, against Python's struct."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from models.scorers.servers.open_inference_tensors import DATATYPES, conformed, raw_array, raw_content
from models.tensors import Array, TensorSpec

NUMBERS = [dtype for dtype in DATATYPES.values() if dtype.kind != "O"]


@given(st.lists(st.binary(max_size=20)))
def test_texts_are_lengths_and_bytes(texts: list[bytes]) -> None:
    expected = b"".join(struct.pack(f"<I{len(text)}s", len(text), text) for text in texts)
    array = np.empty(len(texts), object)
    array[:] = texts
    assert raw_content(array) == expected
    assert raw_array(expected, np.dtype(object), [len(texts)]).tolist() == texts


@given(st.sampled_from(NUMBERS).flatmap(lambda dtype: arrays.arrays(dtype, arrays.array_shapes(max_dims=3))))
def test_numbers_of_either_byte_order_are_little_endian(
    array: Array,
) -> None:
    code = {"f2": "e", "f4": "f", "f8": "d", "b1": "?"}.get(array.dtype.str[1:], array.dtype.char)
    size = {"b": 1, "h": 2, "i": 4, "l": 8}.get(code.lower())
    standard = code if size is None else {1: "b", 2: "h", 4: "i", 8: "q"}[size]
    standard = standard.upper() if code.isupper() else standard
    expected = b"".join(struct.pack(f"<{standard}", value) for value in array.ravel().tolist())
    swapped = array.astype(array.dtype.newbyteorder(">"))
    if not np.isnan(array.astype(np.float64)).any():  # a NaN has many bit patterns
        assert raw_content(array) == raw_content(swapped) == expected
    np.testing.assert_array_equal(raw_array(raw_content(array), array.dtype, array.shape), array)


@pytest.mark.parametrize(
    ("shape", "wanted", "result"),
    [
        ((3,), None, (3,)),
        ((3,), (None,), (3,)),
        ((3, 1), (None,), (3,)),
        ((3,), (None, 1), (3, 1)),
        ((3, 2), (None, None), (3, 2)),
        ((3, 2, 1), (None, 2), (3, 2)),
        ((1,), (None,), (1,)),
        ((1, 1), (None, 1), (1, 1)),
        ((3, 2), (None,), None),
        ((3,), (None, 2), None),
        ((3, 1, 1), (None,), None),
        ((), (None,), None),
    ],
)
def test_only_a_last_dimension_of_one_may_differ(
    shape: tuple[int, ...], wanted: tuple[int | None, ...] | None, result: tuple[int, ...] | None
) -> None:
    spec = TensorSpec("y", np.dtype(np.float32), wanted)
    array = np.zeros(shape, np.float32)
    if result is not None:
        assert conformed(array, spec).shape == result
        return
    with pytest.raises(ValueError, match="metadata"):
        conformed(array, spec)
