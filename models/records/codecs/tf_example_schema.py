"""The schemas of `tf-example`: the features of examples, and the number of values of each.

`--record-schema` is one of these:

| | |
|---|---|
| `FILE.pbtxt` | a `tensorflow_metadata` Schema as a text proto, such as TensorFlow Data Validation writes |
| `derived:FILE.tfrecord` | examples (a TFRecord file, gzipped or not) from which the schema is inferred |
| a bundled name | the features that correspond to the fields of the bundled Avro schema |

The record type's name is the bundled name, or the file's name without its ending; the schema's annotation
`annotation { tag: "record-type:NAME" }` overrides it.

A schema is inferred from the first 1,000 examples: a feature with exactly one value wherever it is present is a scalar,
any other feature is a list. No feature is required, since a sample cannot prove that, and bytes stay bytes, except for
`dataType`. A feature without a type in any example is left out.
"""

from __future__ import annotations

import gzip
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from models.errors import SchemaError
from models.records.record_type import DATA_TYPE_FIELD, RecordFormat, RecordType
from models.schemas import BUNDLED_RECORDS, bundled_schema
from models.text import error_text

DERIVED = "derived:"
NAME_TAG = "record-type:"
RESERVED = "@"
SAMPLE_SIZE = 1_000
NEEDS_TFX_BSL = (
    "record format tf-example needs the Python package tfx-bsl, which exists for Python 3.11 and later, but not for "
    "Linux on ARM: install it here and wherever workers run"
)

Kind = Literal["INT", "FLOAT", "BYTES"]
_ARROW = {"INT": pa.int64(), "FLOAT": pa.float32(), "BYTES": pa.binary()}
_EMPTY: Mapping[str, Any] = {"INT": 0, "FLOAT": 0.0, "BYTES": b""}
# Domains whose values are texts.
_TEXT_DOMAINS = ("string_domain", "domain", "natural_language_domain", "url_domain", "mid_domain")
_UNUSED_STAGES = ("DEPRECATED", "DISABLED", "PLANNED")
_GZIP = b"\x1f\x8b\x08"


@dataclass(frozen=True)
class Feature:
    """One feature.

    Attributes:
      name: the name of the feature and of its column.
      kind: the type of its values.
      scalar: whether each example has exactly one value.
      required: whether an example without the feature is malformed.
      least, most: the minimum and maximum number of values; None as `most` means any number.
      text: whether the bytes are UTF-8.
      first: a value that the domain allows; None if the schema lists none.
    """

    name: str
    kind: Kind
    scalar: bool
    required: bool
    least: int = 0
    most: int | None = None
    text: bool = False
    first: bytes | None = None

    @property
    def arrow(self) -> pa.DataType:
        """The type of its column."""
        item = pa.string() if self.text else _ARROW[self.kind]
        return item if self.scalar else pa.list_(item)

    @property
    def title(self) -> str:
        """The feature as error texts name it."""
        return f"feature {self.name!r}"

    @property
    def sample(self) -> Any:
        """A valid value of the feature: the value itself for a scalar, otherwise a list."""
        value = _EMPTY[self.kind] if self.first is None else self.first
        return value if self.scalar else [value] * max(1, self.least)

    def allows(self, lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Whether each number of values is allowed: bool [rows]; -1 stands for a missing feature."""
        allowed = lengths >= self.least
        if self.most is not None:
            allowed &= lengths <= self.most
        return (lengths < 0) & (not self.required) | (lengths >= 0) & allowed

    def misfit(self, length: int) -> str:
        """The reason why a number of values is not allowed."""
        if length < 0:
            return f"{self.title} is missing"
        if self.least == self.most:
            return f"{self.title} has {length} values instead of {self.least}"
        most = "any number" if self.most is None else self.most
        return f"{self.title} has {length} values; {self.least} to {most} are allowed"

    def values(self, value: Any) -> list[Any]:
        """Converts a value of a row to the list of values of the feature.

        Raises:
          ValueError: the number of values is not allowed, or a value cannot be converted.
          TypeError: the value is neither a scalar nor a list.
        """
        values = [value] if self.scalar else list(value)
        if not self.allows(np.array([len(values)]))[0]:
            raise ValueError(self.misfit(len(values)))
        if self.kind == "FLOAT":
            return [float(one) for one in values]
        if self.kind == "INT":
            return [int(one) if isinstance(one, bool) else one for one in values]
        return [one.encode() if isinstance(one, str) else one for one in values]


@contextmanager
def needs_tfx_bsl() -> Iterator[None]:
    """Wraps imports of tfx-bsl and of the packages that it brings.

    Raises:
      SchemaError: tfx-bsl is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("tfx_bsl", "tensorflow_metadata"):
            raise
        raise SchemaError(NEEDS_TFX_BSL) from error


def read(name: str, record_format: RecordFormat, options: Mapping[str, str]) -> RecordType:
    """Reads the record type of a bundled name, a schema file or a file of examples.

    Raises:
      SchemaError: the name is none of these, or the schema cannot be used.
    """
    if name in BUNDLED_RECORDS:
        text = _as_text(from_avro(bundled_schema(name)))
        return RecordType(name, text, record_format, options)
    if name.startswith(DERIVED):
        path = Path(name.removeprefix(DERIVED))
        return RecordType(path.stem, _as_text(infer_schema(name, _examples(name, path))), record_format, options)
    try:
        text = Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        known = ", ".join(BUNDLED_RECORDS)
        raise SchemaError(
            f"record schema {name!r} is neither a readable text file nor a bundled name ({known}); for a file of "
            f"examples write {DERIVED}FILE"
        ) from error
    schema = parse_schema(name, text)
    features_of(name, schema)
    return RecordType(_type_name(schema) or Path(name).stem, text, record_format, options)


def _type_name(schema: Any) -> str | None:
    tags = [tag for tag in schema.annotation.tag if tag.startswith(NAME_TAG)]
    return tags[0].removeprefix(NAME_TAG).strip() or None if tags else None


def parse_schema(name: str, text: str) -> Any:
    """Parses the Schema message of a text proto.

    Raises:
      SchemaError: the text is not a Schema; the message names the file.
    """
    with needs_tfx_bsl():
        from google.protobuf import text_format
        from tensorflow_metadata.proto.v0 import schema_pb2
    try:
        return text_format.Parse(text, schema_pb2.Schema())
    except text_format.ParseError as error:
        raise SchemaError(
            f"record schema {name!r} is not a text proto of tensorflow_metadata's Schema: {error_text(error)}"
        ) from error


def _as_text(schema: Any) -> str:
    from google.protobuf import text_format

    return str(text_format.MessageToString(schema))


def features_of(name: str, schema: Any) -> tuple[Feature, ...]:
    """The features that examples may have, without those that are no longer used.

    Raises:
      SchemaError: a feature cannot be a column; the message names it.
    """
    domains = {domain.name: domain for domain in schema.string_domain}
    features: dict[str, Feature] = {}
    for one in schema.feature:
        if one.deprecated or _enum_name(one, "lifecycle_stage") in _UNUSED_STAGES:
            continue
        where = f"record schema {name!r}: feature {one.name!r}"
        if not one.name or one.name.startswith(RESERVED):
            raise SchemaError(f"{where}: a feature needs a name, which does not begin with {RESERVED!r}")
        if one.name in features:
            raise SchemaError(f"{where} is declared twice")
        features[one.name] = _feature(where, one, domains)
    return tuple(features.values())


def _enum_name(message: Any, field: str) -> str:
    number = getattr(message, field)
    return str(message.DESCRIPTOR.fields_by_name[field].enum_type.values_by_number[number].name)


def _feature(where: str, declared: Any, domains: Mapping[str, Any]) -> Feature:
    kind = _enum_name(declared, "type")
    if kind not in _ARROW:
        raise SchemaError(f"{where}: its type is {kind}; an example has BYTES, INT and FLOAT features")
    least, most = _counts(where, declared)
    scalar = least == most == 1
    is_data_type = declared.name == DATA_TYPE_FIELD and kind == "BYTES"
    if is_data_type and not scalar:
        raise SchemaError(f"{where} names the data type: declare it as one value (shape {{}})")
    text = kind == "BYTES" and (is_data_type or any(map(declared.HasField, _TEXT_DOMAINS)))
    required = declared.presence.min_fraction >= 1
    first = _first(declared, domains) if text else None
    return Feature(declared.name, kind, scalar, required, least, most, text, first)  # type: ignore[arg-type]


def _counts(where: str, declared: Any) -> tuple[int, int | None]:
    """The minimum and maximum number of values."""
    if declared.HasField("value_counts"):
        raise SchemaError(f"{where}: value_counts are of nested lists, which an example does not have")
    if declared.HasField("shape"):
        sizes = [dimension.size for dimension in declared.shape.dim]
        if all(size > 0 for size in sizes):
            count = int(np.prod(sizes, dtype=np.int64))
            return count, count
        return 0, None
    count = declared.value_count
    return max(0, count.min), count.max if count.HasField("max") and count.max > 0 else None


def _first(declared: Any, domains: Mapping[str, Any]) -> bytes | None:
    domain = domains.get(declared.domain, declared.string_domain)
    return domain.value[0].encode() if domain.value else None


def from_avro(schema: Mapping[str, Any]) -> Any:
    """The schema of the features that correspond to the fields of a flat Avro record.

    A field that is nullable, has a default or is an array becomes a feature that may be missing.

    Raises:
      SchemaError: a field's type cannot be a feature.
    """
    with needs_tfx_bsl():
        from tensorflow_metadata.proto.v0 import schema_pb2
    made = schema_pb2.Schema()
    for field in schema["fields"]:
        branches = field["type"] if isinstance(field["type"], list) else [field["type"]]
        types = [branch for branch in branches if branch != "null"]
        array = len(types) == 1 and isinstance(types[0], dict) and types[0]["type"] == "array"
        item = types[0]["items"] if array else types[0] if len(types) == 1 else None
        if not isinstance(item, str) or item not in _OF_AVRO:
            raise SchemaError(f"field {field['name']!r} of type {field['type']!r} cannot be a feature of an example")
        feature = made.feature.add(name=field["name"], type=_OF_AVRO[item])
        if item == "string":
            feature.string_domain.SetInParent()
        if array:
            feature.value_count.SetInParent()
            continue
        feature.shape.SetInParent()
        if len(branches) == 1 and "default" not in field:
            feature.presence.min_fraction = 1
    return made


_OF_AVRO = {
    "int": "INT",
    "long": "INT",
    "boolean": "INT",
    "float": "FLOAT",
    "double": "FLOAT",
    "string": "BYTES",
    "bytes": "BYTES",
}


def infer_schema(name: str, examples: Sequence[bytes]) -> Any:
    """Infers the schema from a sample of examples; the module describes the rules.

    Raises:
      SchemaError: there is no example, an example cannot be parsed, or a feature has values of two types.
    """
    with needs_tfx_bsl():
        from tensorflow_metadata.proto.v0 import schema_pb2
        from tfx_bsl.coders.example_coder import ExamplesToRecordBatchDecoder
    if not examples:
        raise SchemaError(f"record schema {name!r}: the file holds no example")
    try:
        sample = ExamplesToRecordBatchDecoder().DecodeBatch(list(examples))
    except (RuntimeError, ValueError) as error:
        raise SchemaError(
            f"record schema {name!r}: the first {len(examples)} examples cannot be parsed: {error_text(error)}"
        ) from error
    made = schema_pb2.Schema()
    for field, lists in sorted(zip(sample.schema, sample.columns, strict=True), key=lambda pair: str(pair[0].name)):
        if pa.types.is_null(field.type) or pa.types.is_null(field.type.value_type):
            continue
        feature = made.feature.add(name=field.name, type=_type_of(field.type.value_type))
        lengths = {length for length in lists.value_lengths().to_pylist() if length is not None}
        (feature.shape if lengths == {1} else feature.value_count).SetInParent()
    return made


def _type_of(item: pa.DataType) -> str:
    if pa.types.is_integer(item):
        return "INT"
    return "FLOAT" if pa.types.is_floating(item) else "BYTES"


def _examples(name: str, path: Path) -> list[bytes]:
    try:
        with path.open("rb") as file:
            zipped = file.read(len(_GZIP)) == _GZIP
            file.seek(0)
            records: Any = gzip.GzipFile(fileobj=file) if zipped else file
            return list(islice(read_tfrecords(records), SAMPLE_SIZE))
    except (OSError, EOFError, ValueError) as error:
        raise SchemaError(f"record schema {name!r} is not a readable TFRecord file: {error_text(error)}") from error


def read_tfrecords(file: BinaryIO) -> Iterator[bytes]:
    """Yields the records of a TFRecord file.

    A record follows its length and the length's checksum, and its own checksum follows it. The checksums are not
    compared, because parsing the records reveals damage.

    Raises:
      ValueError: the file ends within a record.
    """
    while header := file.read(12):
        length = struct.unpack("<Q", header[:8])[0] if len(header) == 12 else 1 << 62
        record = file.read(length) if length < 1 << 31 else b""
        if len(record) < length or len(file.read(4)) < 4:
            raise ValueError("it ends within a record")
        yield record
