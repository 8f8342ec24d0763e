from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.columns.mapping import ModelInputs, plan_inputs, to_model_inputs
from models.columns.outputs import RecordOutputs, no_outputs, select_outputs
from models.errors import FieldValueError, MappingError
from models.records.record_type import RecordType
from models.tensors import Signature, TensorSpec
from tests.models.fakes import columns_of, schema_of

LONGS = {"type": "array", "items": "long"}
DOUBLES = {"type": "array", "items": "double"}
RECOMMENDER = RecordType.named("recommender")
WINE = RecordType.named("wine")
FLOATS = st.floats(width=32, allow_nan=False)


def signature(**inputs: tuple[Any, tuple[int | None, ...] | None]) -> Signature:
    """A signature with inputs given as (dtype, shape), and one output `out` with one value for each row."""
    specs = {name: TensorSpec(name, np.dtype(dtype), shape) for name, (dtype, shape) in inputs.items()}
    return Signature("serving_default", specs, {"out": TensorSpec("out", np.dtype(np.float32), (None, 2))})


def select(inputs: ModelInputs, outputs: dict[str, Any]) -> RecordOutputs:
    return select_outputs(outputs, {}, inputs.rows, inputs.bounds)


def fill(schema: RecordType, entry: Signature, rows: list[Any], **mapped: tuple[str, ...]) -> ModelInputs:
    return to_model_inputs(plan_inputs(entry, mapped, schema.codec), columns_of(schema, rows))


# --- Results belong to the records that they came from.

RATINGS = st.lists(
    st.fixed_dictionaries(
        {"user": st.integers(-(2**20), 2**20), "products": st.none() | st.lists(st.integers(0, 2**20), max_size=4)}
    ),
    min_size=1,
    max_size=6,
)
NULLABLE = schema_of(user="long", products=["null", LONGS])


@given(RATINGS, st.sampled_from([(None,), (None, 1), None]))
def test_each_record_gets_exactly_its_own_rows_back(rows: list[Any], shape: tuple[int | None, ...] | None) -> None:
    entry = signature(user=(np.int64, shape), products=(np.int64, shape))
    inputs = fill(NULLABLE, entry, rows)
    assert inputs.rows == sum(len(row["products"] or ()) for row in rows)
    pairs = np.stack([inputs.arrays["user"].ravel(), inputs.arrays["products"].ravel()], axis=1)
    outputs = select(inputs, {"pair": pairs})
    for index, row in enumerate(rows):
        expected = [[row["user"], product] for product in row["products"] or ()]
        assert outputs.of(index)["pair"].tolist() == expected


@given(st.lists(st.lists(FLOATS, min_size=3, max_size=3), min_size=1, max_size=6))
def test_fields_become_a_vector_in_the_order_that_is_given(values: list[list[float]]) -> None:
    schema = schema_of(a="float", b="float", c="float")
    rows = [dict(zip("abc", value, strict=True)) for value in values]
    inputs = fill(schema, signature(inputs=(np.float32, (None, 3))), rows, inputs=("c", "a", "b"))
    np.testing.assert_array_equal(inputs.arrays["inputs"], [[c, a, b] for a, b, c in values])
    outputs = select(inputs, {"inputs": inputs.arrays["inputs"]})
    assert outputs.of(0)["inputs"].tolist() == [values[0][2], values[0][0], values[0][1]]


@given(st.lists(st.lists(FLOATS, min_size=4, max_size=4), min_size=1, max_size=6))
def test_an_array_field_fills_an_input_of_a_vector_a_record(values: list[list[float]]) -> None:
    rows = [{"x": value} for value in values]
    for shape in ((None, 4), (None, None), (None, 2, 2)):
        inputs = fill(schema_of(x=DOUBLES), signature(x=(np.float32, shape)), rows)
        assert inputs.bounds is None
        np.testing.assert_array_equal(inputs.arrays["x"].reshape(-1, 4), np.array(values, np.float32))


DTYPES = [np.float16, np.float32, np.float64, np.int8, np.int32, np.int64, np.uint8, np.uint64, np.bool_]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(None,), (None, 1), (None, None), None])
def test_dtype_and_rank_follow_the_signature(dtype: Any, shape: tuple[int | None, ...] | None) -> None:
    kind, values = ("boolean", [True, False]) if dtype is np.bool_ else ("long", [1, 0])
    inputs = fill(schema_of(x=kind), signature(x=(dtype, shape)), [{"x": value} for value in values])
    assert inputs.arrays["x"].dtype == dtype
    assert inputs.arrays["x"].shape == ((2,) if shape is None or len(shape) == 1 else (2, 1))
    assert inputs.arrays["x"].ravel().tolist() == values


def test_texts_are_bytes_in_arrays_of_objects() -> None:
    schema = schema_of(text="string", texts={"type": "array", "items": "string"})
    entry = signature(text=(object, (None,)), texts=(object, (None, 1)))
    inputs = fill(schema, entry, [{"text": "é", "texts": ["a", ""]}, {"text": "b", "texts": []}])
    assert inputs.arrays["text"].tolist() == ["é".encode()] * 2
    assert inputs.arrays["texts"].tolist() == [[b"a"], [b""]]


# --- Nulls and empty arrays.


def test_null_is_nan_for_an_input_of_floats() -> None:
    schema = schema_of(a=["null", "double"], b=["null", "double"])
    rows = [{"a": None, "b": 1.0}, {"a": 2.0, "b": None}]
    inputs = fill(schema, signature(inputs=(np.float32, (None, 2))), rows, inputs=("a", "b"))
    np.testing.assert_array_equal(inputs.arrays["inputs"], [[np.nan, 1.0], [2.0, np.nan]])


def test_null_does_not_fit_an_input_of_integers() -> None:
    with pytest.raises(FieldValueError, match=r"'x' \(int64\) from x"):
        fill(schema_of(x=["null", "long"]), signature(x=(np.int64, (None,))), [{"x": None}])


def test_a_null_array_has_no_items() -> None:
    inputs = fill(NULLABLE, signature(products=(np.int64, (None,))), [{"user": 1, "products": None}])
    assert inputs.rows == 0
    assert inputs.arrays["products"].shape == (0,)


def test_records_without_a_row_have_empty_outputs_of_the_models_dtype() -> None:
    outputs = no_outputs(signature(products=(np.int64, (None, 1))), {"answer": "out"}, 2, exploded=True)
    for index in (0, 1):
        assert outputs.of(index)["answer"].shape == (0, 2)
        assert outputs.of(index)["answer"].dtype == np.float32


# --- Values that do not fit.


@pytest.mark.parametrize(
    ("kind", "dtype", "value"),
    [
        ("double", np.int64, 1.5),
        ("double", np.int64, 1.0),
        ("double", np.bool_, 1.0),
        ("long", np.bool_, 1),
        ("long", np.int32, 2**31),
        ("long", np.uint8, 256),
        ("long", np.uint8, -1),
        ("long", np.uint64, -1),
    ],
)
def test_a_value_is_never_cut_to_fit(kind: str, dtype: Any, value: Any) -> None:
    with pytest.raises(FieldValueError, match="model input 'x'"):
        fill(schema_of(x=kind), signature(x=(dtype, (None,))), [{"x": value}])


def test_arrays_of_different_lengths_fill_no_vector() -> None:
    with pytest.raises(FieldValueError, match="different lengths"):
        fill(schema_of(x=DOUBLES), signature(x=(np.float32, (None, None))), [{"x": [1.0]}, {"x": [1.0, 2.0]}])


@pytest.mark.parametrize("length", [0, 1, 6])
def test_an_array_of_another_length_than_the_input_is_refused(length: int) -> None:
    with pytest.raises(FieldValueError, match=r"takes \[n, 3\]"):
        fill(schema_of(x=DOUBLES), signature(x=(np.float32, (None, 3))), [{"x": [0.0] * length}])


def test_arrays_beside_each_other_must_have_one_length() -> None:
    schema = schema_of(a=LONGS, b=LONGS)
    entry = signature(a=(np.int64, (None,)), b=(np.int64, (None,)))
    assert fill(schema, entry, [{"a": [1, 2], "b": [3, 4]}]).arrays["b"].tolist() == [3, 4]
    # The lengths of all records together agree, those of each do not.
    with pytest.raises(FieldValueError, match="'a' and 'b' of a record differ in length"):
        fill(schema, entry, [{"a": [1], "b": []}, {"a": [], "b": [1]}])


# --- Plans.


def test_an_input_that_is_no_field_names_the_remedy() -> None:
    with pytest.raises(MappingError, match=r"--input inputs=fixed_acidity,.*,alcohol"):
        plan_inputs(signature(inputs=(np.float32, (None, 11))), {}, WINE.codec)


@pytest.mark.parametrize(
    ("mapped", "text"),
    [
        ({"nothing": ("user",)}, "which signature 'serving_default' does not have; it has x"),
        ({"x": ("nothing",)}, "no field 'nothing'"),
        ({"x": ("dataType",)}, "'dataType' holds text"),
        ({"x": ("user", "products")}, "cannot contain an array field"),
        ({"x": ("user", "user", "user")}, r"\[n, 2\] takes 2 values per record, but 3 fields"),
        ({"x": ("user",)}, r"\[n, 2\] takes 2 values per record, but 1 fields"),
    ],
)
def test_a_mapping_that_cannot_be_is_refused(mapped: dict[str, tuple[str, ...]], text: str) -> None:
    with pytest.raises(MappingError, match=text):
        plan_inputs(signature(x=(np.float32, (None, 2))), mapped, RECOMMENDER.codec)


def test_a_row_an_item_stands_beside_no_vector() -> None:
    entry = signature(products=(np.float32, (None, 1)), pair=(np.float32, (None, 2)))
    with pytest.raises(MappingError, match="cannot be combined with a vector"):
        plan_inputs(entry, {"pair": ("user", "user")}, RECOMMENDER.codec)
