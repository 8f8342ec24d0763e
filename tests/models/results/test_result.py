from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from models.columns.outputs import RecordOutputs
from models.columns.scored import ModelCall, ModelIdentity, RouteIdentity, StepCall
from models.errors import SchemaError
from models.records.record_type import RecordType
from models.results.decoder import ResultDecoder
from models.results.encoder import Origin, ResultEncoder, tensor_as_json
from models.results.schema import check_result_schema
from models.tensors import Array
from tests.models.fakes import LONGS, TEXTS, schema_of

ORIGIN = Origin("récords", 7)
IDENTITIES = st.builds(
    ModelIdentity, TEXTS, st.none() | LONGS, TEXTS, TEXTS, st.none() | TEXTS, st.integers(0, 2**63 - 1)
)
SCORINGS = st.builds(
    ModelCall,
    st.none() | IDENTITIES,
    st.integers(0, 4_000_000_000_000_000),
    st.integers(0, 2**40),
    st.integers(0, 2**31 - 1),
    st.none() | TEXTS,
    st.none() | st.builds(RouteIdentity, st.integers(0, 2**62), TEXTS, st.sampled_from(["serve", "shadow"])),
    st.lists(
        st.builds(StepCall, TEXTS, st.none() | TEXTS, st.none() | LONGS, st.integers(0, 2**40), st.none() | TEXTS),
        max_size=3,
    ).map(tuple),
)
DTYPES = st.one_of(
    npst.floating_dtypes(endianness="?"),
    npst.integer_dtypes(endianness="?"),
    npst.unsigned_integer_dtypes(endianness="?", sizes=(8, 16, 32)),
    npst.boolean_dtypes(),
    st.just(np.dtype(object)),
)
SCHEMA = schema_of(text="string")
NO_SCORING = ModelCall(None, 0, 0, 1)


@st.composite
def outputs(draw: st.DrawFn) -> tuple[int, RecordOutputs]:
    """A number of records, and a model's outputs for them, in every dtype, shape and split."""
    count = draw(st.integers(1, 4))
    bounds = None
    if draw(st.booleans()):
        lengths = draw(st.lists(st.integers(0, 3), min_size=count, max_size=count))
        bounds = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])
    rows = count if bounds is None else int(bounds[-1])
    arrays = {name: draw(arrays_of(rows)) for name in draw(st.lists(TEXTS, max_size=3, unique=True))}
    return count, RecordOutputs(arrays, bounds)


@st.composite
def arrays_of(draw: st.DrawFn, rows: int) -> Array:
    shape = (rows, *draw(npst.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=3)))
    array: Array = draw(npst.arrays(draw(DTYPES), shape, elements=None, fill=st.nothing()) | text_arrays(shape))
    return array


@st.composite
def text_arrays(draw: st.DrawFn, shape: tuple[int, ...]) -> Array:
    array = np.empty(shape, object)
    for place in np.ndindex(*shape):
        array[place] = draw(st.binary(max_size=4) | TEXTS)
    return array


def without_objects(array: Array) -> Array:
    """Arrays of texts where hypothesis would create arbitrary objects, because results contain only texts."""
    if array.dtype.kind != "O":
        return array
    texts: Array = np.vectorize(lambda item: item if isinstance(item, (bytes, str)) else b"", otypes=[object])(array)
    return texts


def as_written(array: Any) -> list[Any]:
    """The items as Avro returns them."""
    if array.dtype.kind == "O":
        return [item if isinstance(item, bytes) else item.encode() for item in array.ravel()]
    if array.dtype == np.float16:
        array = array.astype(np.float32)
    items: list[Any] = array.ravel().tolist()
    return items


def encode(
    kind: RecordType,
    call: ModelCall,
    values: Sequence[bytes],
    offsets: Sequence[int],
    outputs: RecordOutputs | None = None,
) -> list[bytes]:
    embedded = pa.array(values, pa.binary())
    encoder = ResultEncoder(kind.codec.embedding)
    encoded: list[bytes] = encoder.encode(call, ORIGIN, embedded, np.array(offsets, np.int64), outputs).to_pylist()
    return encoded


@given(SCORINGS, outputs(), st.integers(0, 2**62), TEXTS)
def test_fastavro_reads_results_as_they_were_written(
    scoring: ModelCall, given_outputs: tuple[int, RecordOutputs], offset: int, text: str
) -> None:
    count, drawn = given_outputs
    out = RecordOutputs(
        {name: without_objects(array) if array.size else array for name, array in drawn.arrays.items()}, drawn.bounds
    )
    rows = [{"text": f"{text}{index}"} for index in range(count)]
    offsets = [offset + index for index in range(count)]
    values = [SCHEMA.codec.encode(row) for row in rows]
    written = encode(SCHEMA, scoring, values, offsets, out)
    decoder = ResultDecoder(SCHEMA.codec.embedding)
    assert len(written) == count
    for index, message in enumerate(written):
        result = decoder.decode(message)
        assert result["inputRecord"] == rows[index]
        assert result["modelResultMetadata"] == metadata(scoring, offsets[index])
        assert set(result["outputs"]) == set(out.arrays)
        for name, array in out.of(index).items():
            assert result["outputs"][name]["shape"] == list(array.shape)
            np.testing.assert_equal(result["outputs"][name]["values"], as_written(array))


def metadata(scoring: ModelCall, offset: int) -> dict[str, Any]:
    model = scoring.model
    return {
        "errors": scoring.error,
        "offset": offset,
        "partition": ORIGIN.partition,
        "topic": ORIGIN.topic,
        "modelName": model and model.name,
        "modelVersion": model and model.version,
        "modelType": model and model.model_type,
        "modelSourceLocation": model and model.location,
        "digest": model and model.digest,
        "descriptorOffset": model and model.descriptor_offset,
        "startTime": scoring.start,
        "duration": scoring.duration,
        "batchSize": scoring.batch_size,
        "routeOffset": scoring.route and scoring.route.offset,
        "arm": scoring.route and scoring.route.arm,
        "role": scoring.route and scoring.route.role,
        "steps": [
            {
                "name": step.name,
                "modelName": step.model,
                "modelVersion": step.version,
                "duration": step.duration,
                "errors": step.error,
            }
            for step in scoring.steps
        ]
        or None,
    }


@given(SCORINGS, TEXTS, st.integers(0, 2**62))
def test_a_json_result_says_the_same(scoring: ModelCall, text: str, offset: int) -> None:
    schema = schema_of("json", text="string")
    out = RecordOutputs({"é": np.array([[1.5, np.nan, -np.inf]])}, None)
    (message,) = encode(schema, scoring, [schema.codec.encode({"text": text})], [offset], out)
    assert ResultDecoder(schema.codec.embedding).decode(message) == {
        "inputRecord": {"text": text},
        "outputs": {"é": {"shape": [3], "values": [1.5, None, None]}},
        "modelResultMetadata": metadata(scoring, offset),
    }


def test_without_outputs_the_result_has_none() -> None:
    for schema in (SCHEMA, schema_of("json", text="string")):
        value = schema.codec.encode({"text": "a"})
        scoring = ModelCall(None, 0, 0, 1, "no model")
        (message,) = encode(schema, scoring, [value], [5])
        result = ResultDecoder(schema.codec.embedding).decode(message)
        assert result["outputs"] == {}
        assert result["modelResultMetadata"]["errors"] == "no model"


@pytest.mark.parametrize("name", ["recommender", "wine", "transaction"])
def test_records_of_every_bundled_schema_come_back_in_their_results(name: str) -> None:
    schema = RecordType.named(name)
    blanks = {"long": 1, "string": "a", "double": 0.5}
    row = {
        field: blanks.get(kind) if isinstance(kind, str) else [] if isinstance(kind, dict) else None
        for field, kind in ((one["name"], one["type"]) for one in schema.declared["fields"])
    }
    (message,) = encode(schema, NO_SCORING, [schema.codec.encode(row)], [0])
    assert ResultDecoder(schema.codec.embedding).decode(message)["inputRecord"] == row


def test_a_schema_with_names_of_its_own_types_stands_in_a_result() -> None:
    inner = {"type": "record", "name": "Inner", "fields": [{"name": "x", "type": "long"}]}
    schema = schema_of(one=inner, more={"type": "array", "items": "Inner"})
    row = {"one": {"x": 1}, "more": [{"x": 2}]}
    (message,) = encode(schema, NO_SCORING, [schema.codec.encode(row)], [0])
    assert ResultDecoder(schema.codec.embedding).decode(message)["inputRecord"] == row


@given(st.binary())
def test_what_is_no_result_raises_nothing_but_a_value_error(content: bytes) -> None:
    for schema in (SCHEMA, schema_of("json", text="string")):
        header = b"" if schema.format == "json" else ResultEncoder(schema.codec.embedding)._header
        for message in (content, header + content):
            try:
                ResultDecoder(schema.codec.embedding).decode(message)
            except ValueError as error:
                assert str(error)


def test_a_result_of_other_records_is_refused() -> None:
    (message,) = encode(SCHEMA, NO_SCORING, [SCHEMA.codec.encode({"text": "a"})], [0])
    with pytest.raises(ValueError, match="not a ScoringResult"):
        ResultDecoder(schema_of(text="bytes").codec.embedding).decode(message)


def test_json_says_what_json_cannot_hold() -> None:
    texts = np.array([b"\xff", "é".encode(), "ü"], object)
    assert tensor_as_json(texts)["values"] == [{"base64": "/w=="}, "é", "ü"]
    assert tensor_as_json(np.array([[np.nan, np.inf], [-np.inf, 1.0]])) == {
        "shape": [2, 2],
        "values": [None, None, None, 1.0],
    }
    numbers = np.array([True, False])
    assert json.dumps(tensor_as_json(numbers)["values"]) == "[true, false]"


def test_a_record_schema_whose_types_have_names_of_ours_is_refused_before_anything_runs() -> None:
    clashing = {
        "type": "record",
        "name": "Mine",
        "fields": [{"name": "t", "type": {"type": "record", "name": "Tensor", "fields": []}}],
    }
    with pytest.raises(SchemaError, match="namespace of their own"):
        check_result_schema(RecordType("Mine", json.dumps(clashing)))
    for name in ("recommender", "transaction", "wine"):
        check_result_schema(RecordType.named(name))
