"""Serialized examples: `tf.io.parse_example` reads the same values, and a malformed message affects no other."""

from __future__ import annotations

import gzip
import struct
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
from hypothesis import example, given
from hypothesis import strategies as st

from beam_pipeline.publishing.record_generators import GENERATORS
from models.columns.outputs import RecordOutputs
from models.columns.scored import ModelCall
from models.errors import MappingError, ModelLoadError, SchemaError
from models.loading.loader import LoadedModel, ModelLoader
from models.model_topic.descriptor import ModelDescriptor
from models.model_topic.published import PublishedVersion
from models.records.codecs.base import DecodedRecords, sample_of
from models.records.codecs.tf_example import EXAMPLE_COLUMN
from models.records.codecs.tf_example_schema import NEEDS_TFX_BSL, features_of, infer_schema
from models.records.record_type import RecordType
from models.results.decoder import ResultDecoder, result_as_json
from models.results.encoder import Origin, ResultEncoder
from models.results.legible import legible_record
from models.results.schema import check_result_schema
from models.serving.scoring import by_data_type
from tests.models.fakes import LONGS, TEXTS, NoOpener
from tests.saved_models import save_example_model

pytest.importorskip("tfx_bsl", reason="tfx-bsl exists for Python 3.11 and later")

SCHEMA = """
feature { name: "amount" type: FLOAT shape {} presence { min_fraction: 1 } }
feature { name: "number" type: INT value_count { min: 1 max: 1 } }
feature { name: "label" type: BYTES shape { dim { size: 1 } } string_domain {} }
feature { name: "blob" type: BYTES shape {} }
feature { name: "scores" type: FLOAT }
feature { name: "ids" type: INT value_count { min: 0 max: 4 } }
feature { name: "words" type: BYTES domain: "vocabulary" }
feature { name: "pair" type: FLOAT shape { dim { size: 2 } } }
feature { name: "dataType" type: BYTES shape {} }
string_domain { name: "vocabulary" value: "first" value: "second" }
"""
KIND = RecordType("test", SCHEMA, "tf-example")
FLOATS = st.floats(width=32)
OPTIONAL: dict[str, st.SearchStrategy[Any]] = {
    "number": LONGS,
    "label": TEXTS,
    "blob": st.binary(max_size=10),
    "scores": st.lists(FLOATS, max_size=4),
    "ids": st.lists(LONGS, max_size=4),
    "words": st.lists(TEXTS, max_size=3),
    "pair": st.lists(FLOATS, min_size=2, max_size=2),
    "dataType": TEXTS,
}
ROWS = st.fixed_dictionaries({"amount": FLOATS}, optional={name: st.none() | one for name, one in OPTIONAL.items()})


def feature(value: Any) -> Any:
    """A TensorFlow feature with a value or a list of them; None is a feature of no kind."""
    values = value if isinstance(value, list) else [value]
    if value is None:
        return tf.train.Feature()
    if values and isinstance(values[0], float):
        return tf.train.Feature(float_list=tf.train.FloatList(value=values))
    if values and isinstance(values[0], int):
        return tf.train.Feature(int64_list=tf.train.Int64List(value=values))
    encoded = [one.encode() if isinstance(one, str) else one for one in values]
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=encoded))


def message(**features: Any) -> bytes:
    """An example as TensorFlow serializes it; None is a feature of no kind."""
    made = {name: one if isinstance(one, tf.train.Feature) else feature(one) for name, one in features.items()}
    serialized: bytes = tf.train.Example(features=tf.train.Features(feature=made)).SerializeToString()
    return serialized


def decode(values: Sequence[bytes | None], kind: RecordType = KIND) -> DecodedRecords:
    return kind.codec.decode(pa.array(values, pa.binary()))


def parsed_by_tensorflow(values: Sequence[bytes]) -> list[dict[str, Any]]:
    """Rows as `tf.io.parse_example` reads them: lists of values, empty if a feature is missing."""
    ints = ("number", "ids")
    floats = ("amount", "scores", "pair")
    kinds = {
        one.name: tf.io.RaggedFeature(tf.int64 if one.name in ints else tf.float32 if one.name in floats else tf.string)
        for one in KIND.codec.fields
        if one.name != EXAMPLE_COLUMN
    }
    tensors = tf.io.parse_example(tf.constant(list(values), tf.string), kinds)
    return [{name: tensor[place].numpy().tolist() for name, tensor in tensors.items()} for place in range(len(values))]


def as_lists(row: Mapping[str, Any]) -> dict[str, list[Any]]:
    """A decoded row in the same form."""

    def items(value: Any) -> list[Any]:
        values = [] if value is None else value if isinstance(value, list) else [value]
        return [one.encode() if isinstance(one, str) else one for one in values]

    return {name: items(value) for name, value in row.items() if name != EXAMPLE_COLUMN}


def same(one: Mapping[str, list[Any]], other: Mapping[str, list[Any]]) -> bool:
    """Whether rows are equal; NaN equals itself."""
    return one.keys() == other.keys() and all(
        np.array_equal(np.array(values), np.array(other[name]), equal_nan=bool(values) and isinstance(values[0], float))
        for name, values in one.items()
    )


def test_a_message_of_10_mb_is_read_beside_others() -> None:
    large = {"amount": 2.0, "label": "é" * 2_500_000, "ids": list(range(4)), "scores": [0.5] * 1_250_000}
    values = [message(amount=1.0), message(**large), message(amount=3.0)]
    decoded = decode(values)
    assert not decoded.errors
    assert decoded.columns["amount"].to_pylist() == [1.0, 2.0, 3.0]
    assert decoded.columns["label"].to_pylist() == [None, large["label"], None]
    assert len(decoded.columns["scores"][1].as_py()) == 1_250_000
    assert decoded.columns[EXAMPLE_COLUMN][1].as_py() == values[1]


@given(st.lists(ROWS, max_size=5))
@example([{"amount": float("nan"), "scores": [float("inf"), -0.0], "label": "größe 😀", "words": ["", "\x00"]}])
def test_what_is_encoded_is_read_alike_by_us_and_by_tensorflow(rows: list[dict[str, Any]]) -> None:
    values = [KIND.codec.encode(row) for row in rows]
    decoded = decode(values)
    assert not decoded.errors
    assert decoded.places.tolist() == list(range(len(rows)))
    decoded.columns.validate(full=True)
    for row, read, expected in zip(rows, decoded.columns.to_pylist(), parsed_by_tensorflow(values), strict=True):
        assert same(as_lists(read), expected)
        given_row = {name: row.get(name) for name in expected}
        assert [name for name, value in given_row.items() if value is None] == [
            name for name in expected if read[name] is None
        ]
        assert same(as_lists(given_row), expected)


@given(st.lists(ROWS, min_size=1, max_size=5))
def test_what_tensorflow_has_written_is_read(rows: list[dict[str, Any]]) -> None:
    empty = {"scores": tf.train.Feature(float_list={}), "ids": tf.train.Feature(int64_list={})}
    values = [
        message(**{name: empty[name] if value == [] and name in empty else value for name, value in row.items()})
        for row in rows
    ]
    decoded = decode(values)
    assert not decoded.errors
    for read, expected in zip(decoded.columns.to_pylist(), parsed_by_tensorflow(values), strict=True):
        assert same(as_lists(read), expected)
    assert decoded.columns.column(EXAMPLE_COLUMN).to_pylist() == values


GOOD = message(amount=1.0, number=7)
MALFORMED = {
    "no example": (b"\xff", "Unable to parse example"),
    "cut": (GOOD[:-1], "Unable to parse example"),
    "no features": (b"", "feature 'amount' is missing"),
    "missing": (message(number=1), "feature 'amount' is missing"),
    "of no kind": (message(amount=None), "feature 'amount' is missing"),
    "no value": (message(amount=tf.train.Feature(float_list={})), "feature 'amount' has 0 values instead of 1"),
    "two values": (message(amount=[1.0, 2.0]), "feature 'amount' has 2 values instead of 1"),
    "too many": (message(amount=1.0, ids=[1] * 5), "feature 'ids' has 5 values; 0 to 4 are allowed"),
    "wrong shape": (message(amount=1.0, pair=[1.0]), "feature 'pair' has 1 values instead of 2"),
    "wrong type": (message(amount=1), 'expected float_list, found int64_list for feature "amount"'),
    "no text": (message(amount=1.0, label=b"\xff"), "feature 'label' is not UTF-8"),
    "no texts": (message(amount=1.0, words=[b"a", b"\xff"]), "feature 'words' is not UTF-8"),
    "no data type": (message(amount=1.0, dataType=b"\xff"), "feature 'dataType' is not UTF-8"),
    "null": (None, "has no value"),
}


@pytest.mark.parametrize("malformed", MALFORMED)
@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_a_malformed_example_at_any_place_spoils_no_other(malformed: str, count: int) -> None:
    value, reason = MALFORMED[malformed]
    for place in range(count):
        values: list[bytes | None] = [message(amount=float(number), number=number) for number in range(count)]
        values[place] = value
        decoded = decode(values)
        expected = [number for number in range(count) if number != place]
        assert decoded.places.tolist() == expected
        assert decoded.columns.column("number").to_pylist() == expected
        assert decoded.columns.column("amount").to_pylist() == expected
        assert decoded.columns.column(EXAMPLE_COLUMN).to_pylist() == [values[number] for number in expected]
        assert len(decoded.embedded) == len(expected)
        assert list(decoded.errors) == [place]
        assert decoded.errors[place].startswith("not a test record: ")
        assert reason in decoded.errors[place]
    assert decode([GOOD]).columns.num_rows == 1  # no row stays behind


def test_all_that_is_malformed_together_is_found() -> None:
    values = [one for value, _ in MALFORMED.values() for one in (value, GOOD)] * 20
    decoded = decode(values)
    assert sorted(decoded.errors) == list(range(0, len(values), 2))
    assert decoded.columns.column("number").to_pylist() == [7] * (len(values) // 2)


@given(st.lists(st.none() | st.binary(max_size=40) | st.just(GOOD) | st.just(GOOD + b"\x0a"), max_size=8))
def test_of_arbitrary_bytes_each_message_is_a_row_or_an_error(values: list[bytes | None]) -> None:
    decoded = decode(values)
    assert sorted([*decoded.places.tolist(), *decoded.errors]) == list(range(len(values)))
    assert decoded.columns.num_rows == len(decoded.places) == len(decoded.embedded)
    decoded.columns.validate(full=True)
    list(by_data_type(decoded.columns, KIND.codec))


@given(ROWS, st.integers(0, 200), st.integers(0, 255))
def test_a_changed_byte_is_read_as_tensorflow_reads_it_or_is_an_error(
    row: dict[str, Any], place: int, byte: int
) -> None:
    changed = bytearray(KIND.codec.encode(row))
    changed[place % len(changed)] = byte
    decoded = decode([GOOD, bytes(changed), GOOD])
    assert decoded.columns.column("number").to_pylist()[0] == decoded.columns.column("number").to_pylist()[-1] == 7
    if len(decoded) == 3:
        try:
            (expected,) = parsed_by_tensorflow([bytes(changed)])
        except (tf.errors.InvalidArgumentError, UnicodeDecodeError):
            return  # TensorFlow's own parser is stricter than protobuf's; its error may quote the bytes, as no text
        assert same(as_lists(decoded.columns.to_pylist()[1]), expected)


def test_a_record_of_10_mb_is_read() -> None:
    blob, scores = b"x" * 10 * 1024 * 1024, [0.5] * 2_500_000
    decoded = decode([GOOD, message(amount=1.0, blob=blob), message(amount=1.0, scores=scores), GOOD])
    assert decoded.columns.column("blob").to_pylist() == [None, blob, None, None]
    assert decoded.columns.column("scores").value_lengths().to_pylist() == [None, None, 2_500_000, None]


def test_threads_do_not_disturb_each_other() -> None:
    wrong: list[int] = []

    def work(number: int) -> None:
        values = [message(amount=float(number), number=number)] * number
        read = (decode([*values, b"\xff"]).columns.column("number").to_pylist() for _ in range(100))
        wrong.extend(number for one in read if one != [number] * number)

    threads = [threading.Thread(target=work, args=(number,)) for number in (1, 20, 300)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_the_columns_are_those_of_the_schema() -> None:
    fields = KIND.codec.fields
    assert {one.name: str(one.type) for one in fields} == {
        "amount": "float",
        "number": "int64",
        "label": "string",
        "blob": "binary",
        "scores": "list<item: float>",
        "ids": "list<item: int64>",
        "words": "list<item: string>",
        "pair": "list<item: float>",
        "dataType": "string",
        EXAMPLE_COLUMN: "binary",
    }
    assert [one.name for one in fields if not one.nullable] == ["amount", EXAMPLE_COLUMN]
    assert decode([GOOD]).columns.schema.equals(fields)


def test_features_that_are_not_in_the_schema_are_ignored() -> None:
    decoded = decode([message(amount=1.0, other=[1, 2]), message(amount=2.0, other=b"x")])
    assert decoded.columns.column("amount").to_pylist() == [1.0, 2.0]


def test_the_data_type_is_the_feature_of_that_name() -> None:
    values = [message(amount=1.0, dataType="größe"), message(amount=1.0), message(amount=1.0, dataType="")]
    kinds = {name: rows.tolist() for name, rows in by_data_type(decode(values).columns, KIND.codec)}
    assert kinds == {"größe": [0], "test": [1, 2]}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({}, "feature 'amount' is missing"),
        ({"amount": 1.0, "pair": [1.0]}, "has 1 values instead of 2"),
        ({"amount": "x"}, "could not convert"),
        ({"amount": 1.0, "number": 1 << 63}, "too large|too big"),
        ({"amount": 1.0, "label": "\ud800"}, "surrogates"),
    ],
)
def test_a_row_that_does_not_follow_the_schema_is_not_encoded(row: dict[str, Any], reason: str) -> None:
    with pytest.raises((ValueError, OverflowError), match=reason):
        KIND.codec.encode(row)


def test_a_schema_without_features_leaves_everything_to_the_model() -> None:
    kind = RecordType("any", "", "tf-example")
    decoded = decode([GOOD, b"\xff", b""], kind)
    assert decoded.columns.to_pylist() == [{EXAMPLE_COLUMN: GOOD}, {EXAMPLE_COLUMN: b""}]
    assert list(decoded.errors) == [1]


# --- Schemas.


def written(folder: Path, text: str, name: str = "cards.pbtxt") -> str:
    path = folder / name
    path.write_text(text)
    return str(path)


def test_a_record_type_is_named_by_its_file_or_by_an_annotation(tmp_path: Path) -> None:
    assert RecordType.named(written(tmp_path, SCHEMA), "tf-example").name == "cards"
    tagged = SCHEMA + 'annotation { tag: "other" tag: "record-type:transaction" }'
    assert RecordType.named(written(tmp_path, tagged), "tf-example").name == "transaction"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("feature {", "cards.pbtxt.* is not a text proto of tensorflow_metadata's Schema"),
        ('feature { name: "a" }', "feature 'a': its type is TYPE_UNKNOWN"),
        ('feature { name: "a" type: STRUCT }', "feature 'a': its type is STRUCT"),
        ("feature { type: INT }", "feature '': a feature needs a name"),
        ('feature { name: "@a" type: INT }', "feature '@a': .* does not begin with '@'"),
        ('feature { name: "a" type: INT } feature { name: "a" type: INT }', "feature 'a' is declared twice"),
        ('feature { name: "a" type: INT value_counts { value_count {} } }', "feature 'a': .* nested lists"),
        ('feature { name: "dataType" type: BYTES }', "feature 'dataType' names the data type: declare it as one value"),
    ],
)
def test_a_schema_that_cannot_be_used_is_refused_with_the_reason(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(SchemaError, match=reason):
        RecordType.named(written(tmp_path, text), "tf-example")


def test_a_schema_file_that_is_not_there_is_refused_with_what_there_is() -> None:
    with pytest.raises(SchemaError, match=r"neither a readable text file nor a bundled name .* derived:FILE"):
        RecordType.named("nowhere.pbtxt", "tf-example")


def test_features_out_of_use_are_left_out() -> None:
    text = """
    feature { name: "a" type: INT lifecycle_stage: DEPRECATED presence { min_fraction: 1 } }
    feature { name: "b" type: INT deprecated: true }
    feature { name: "c" type: INT lifecycle_stage: PRODUCTION }
    """
    assert RecordType("test", text, "tf-example").codec.fields.names == ["c", EXAMPLE_COLUMN]


@pytest.mark.parametrize("name", sorted(GENERATORS))
def test_generated_records_of_the_bundled_types_are_examples(name: str) -> None:
    kind = RecordType.named(name, "tf-example")
    assert kind.name == name
    rows = [one.row for one, _ in zip(GENERATORS[name].records(1), range(20), strict=False)]
    decoded = decode([kind.codec.encode(row) for row in rows], kind)
    assert not decoded.errors
    for read, row in zip(decoded.columns.to_pylist(), rows, strict=True):
        rounded = {one: np.float32(value).item() if isinstance(value, float) else value for one, value in row.items()}
        assert {one: read[one] for one in row} == rounded
    avro = RecordType.named(name).codec.fields
    assert kind.codec.fields.names == [*avro.names, EXAMPLE_COLUMN]


def tfrecords(path: Path, values: Sequence[bytes], options: str = "") -> str:
    with tf.io.TFRecordWriter(str(path), options or None) as writer:
        for value in values:
            writer.write(value)
    return f"derived:{path}"


@pytest.mark.parametrize("compression", ["", "GZIP"])
def test_a_schema_is_derived_from_examples(tmp_path: Path, compression: str) -> None:
    empty = tf.train.Feature(float_list={})
    values = [
        message(number=1, scores=[0.5], name="a", dataType="d", never=None, empty=empty, sparse=[1]),
        message(number=2, scores=[0.5, 1.0], name=b"\xff", dataType="d", never=None),
    ]
    kind = RecordType.named(tfrecords(tmp_path / "cards.tfrecord", values, compression), "tf-example")
    assert kind.name == "cards"
    assert {one.name: str(one.type) for one in kind.codec.fields} == {
        "dataType": "string",
        "empty": "list<item: float>",
        "name": "binary",
        "number": "int64",
        "scores": "list<item: float>",
        "sparse": "int64",
        EXAMPLE_COLUMN: "binary",
    }
    decoded = decode([*values, b"", message(number=[1, 2])], kind)
    assert decoded.places.tolist() == [0, 1, 2]
    assert "feature 'number' has 2 values instead of 1" in decoded.errors[3]


def test_the_same_examples_derive_the_same_schema() -> None:
    values = [message(**{f"f{number}": number for number in range(50)}), message(f7=1)]
    first, second = (infer_schema("x", values) for _ in range(2))
    assert first == second
    assert [one.name for one in features_of("x", first)] == sorted(f"f{number}" for number in range(50))


def broken_file(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    return f"derived:{path}"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file holds no example"),
        (b"1234", "ends within a record"),
        (b"\xff" * 100, "ends within a record"),
        (struct.pack("<QI", 10, 0) + b"x", "ends within a record"),
        (struct.pack("<QI", 1, 0) + b"\xff" + bytes(4), "the first 1 examples cannot be parsed"),
        (gzip.compress(b"12345678")[:-6], "is not a readable TFRecord file"),
    ],
)
def test_a_file_that_holds_no_examples_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    with pytest.raises(SchemaError, match=reason):
        RecordType.named(broken_file(tmp_path / "x.tfrecord", content), "tf-example")


def test_examples_that_contradict_each_other_derive_no_schema(tmp_path: Path) -> None:
    where = tfrecords(tmp_path / "x.tfrecord", [message(a=1), message(a=1.0)])
    with pytest.raises(SchemaError, match=r"cannot be parsed: .*wrong type"):
        RecordType.named(where, "tf-example")


# --- Models and results.


def load(model: Path, kind: RecordType = KIND, inputs: Mapping[str, tuple[str, ...]] | None = None) -> LoadedModel:
    descriptor = ModelDescriptor(
        "test", "tensorflow-saved-model", 1, model_source_location=str(model), inputs=inputs or {}
    )
    return ModelLoader(_Here(), lambda _: b"", [kind.codec]).load(PublishedVersion(descriptor, 1, inline=False))


class _Here(NoOpener):
    """Opens local folders."""

    def download(self, location: str, folder: Path) -> Path:
        return Path(location)


@pytest.mark.parametrize(
    ("name", "inputs"),
    [("examples", {}), ("serialized_tf_examples", {}), ("inputs", {"inputs": (EXAMPLE_COLUMN,)})],
)
def test_a_model_that_parses_examples_gets_the_bytes(
    tmp_path: Path, name: str, inputs: dict[str, tuple[str, ...]]
) -> None:
    model = load(save_example_model(tmp_path / "model", name), inputs=inputs)
    try:
        columns = decode([message(amount=2.0), b"\xff", message(amount=-1.5, scores=[1.0])]).columns
        outputs, _ = model.score(KIND.codec, columns)
        assert outputs.arrays["doubled"].tolist() == [4.0, -3.0]
    finally:
        model.close()


def test_an_input_of_another_name_is_not_filled_with_the_message_by_itself(tmp_path: Path) -> None:
    with pytest.raises(MappingError, match="model input 'inputs'"):
        load(save_example_model(tmp_path / "model", "inputs"))


def test_a_feature_that_is_called_as_the_input_fills_it(tmp_path: Path) -> None:
    kind = RecordType("test", SCHEMA + 'feature { name: "examples" type: BYTES shape {} }', "tf-example")
    with pytest.raises(ModelLoadError, match="warm-up failed"):  # an empty text is not an example
        load(save_example_model(tmp_path / "model", "examples"), kind)


def test_the_sample_follows_the_schema() -> None:
    sample = sample_of(KIND.codec.fields.field(EXAMPLE_COLUMN))
    (row,) = decode([sample]).columns.to_pylist()
    assert (row["amount"], row["pair"], row["words"]) == (0.0, [0.0, 0.0], ["first"])


def test_results_embed_the_message_and_are_legible() -> None:
    check_result_schema(KIND)
    values = [message(amount=1.5, label="größe", blob=b"\xff"), message(amount=float("nan"), ids=[1])]
    decoded = decode(values)
    embedding = KIND.codec.embedding
    call = ModelCall(None, 0, 0, 2)
    outputs = RecordOutputs({"y": np.array([1.0, 2.0], np.float32)}, None)
    encoded = ResultEncoder(embedding).encode(call, Origin("t", 0), decoded.embedded, np.array([0, 1]), outputs)
    results = [ResultDecoder(embedding).decode(one) for one in encoded.to_pylist()]
    assert [one["inputRecord"] for one in results] == values
    shown = result_as_json({"inputRecord": legible_record(results[0]["inputRecord"], KIND.codec)})["inputRecord"]
    assert (shown["amount"], shown["label"], shown["blob"]) == (1.5, "größe", {"base64": "/w=="})
    assert EXAMPLE_COLUMN not in shown
    assert legible_record(b"abc", KIND.codec) == {"base64": "YWJj"}
    assert legible_record({"a": 1}, KIND.codec) == {"a": 1}


# --- Imports.

MISSING = """
import sys
for name in ("tfx_bsl", "tensorflow_metadata"):
    sys.modules[name] = None  # as if it were not installed
from models.errors import SchemaError
from models.records.record_type import RecordType
for use in (lambda: RecordType.named("wine", "tf-example"), lambda: RecordType("wine", "", "tf-example").codec):
    try:
        use()
    except SchemaError as error:
        print(error)
"""
IMPORTED = """
import sys
from models.records.record_type import RecordType
kind = RecordType("test", "", "tf-example")
print("tfx_bsl" in sys.modules)
kind.codec
print("tfx_bsl.coders.example_coder" in sys.modules, "tensorflow" in sys.modules)
"""


def lines_of(program: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_without_tfx_bsl_the_error_names_it() -> None:
    assert lines_of(MISSING) == [NEEDS_TFX_BSL] * 2


def test_tfx_bsl_is_imported_with_the_codec_and_tensorflow_is_not() -> None:
    assert lines_of(IMPORTED) == ["False", "True False"]
