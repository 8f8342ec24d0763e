"""Format `tf-example`: each message is one serialized `tf.Example`, which tfx-bsl decodes to columns in C++.

The schema (`tf_example_schema`) declares the features, which become columns as follows:

| the schema declares | column | malformed |
|---|---|---|
| exactly one value: `shape` of one item, or `value_count` 1 to 1 | scalar | any other number of values |
| anything else | list | fewer or more values than `shape` or `value_count` allow |
| `presence { min_fraction: 1 }` | | the feature is missing |
| otherwise | null where the feature is missing | |

INT becomes int64 and FLOAT becomes float32. BYTES becomes binary, or string if the feature has a text domain. A
`dataType` is always a string, which must be UTF-8. Features that the schema does not name are ignored, and domains do
not restrict values.

The column `@example` holds the message itself, for models that parse examples themselves.

A decoder of tfx-bsl (1.21) keeps the rows that it read before an error and returns them with the next batch, and it
crashes if two threads use it. Each call therefore creates its own decoder, which costs a few microseconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from models.encoding.avro_bytes import encode_bytes
from models.records.batch import Headers
from models.records.codecs.base import (
    NO_VALUE,
    DecodedRecords,
    Embedding,
    RecordCodec,
    decoded_row,
    malformed,
    whole_record_field,
)
from models.records.codecs.tf_example_schema import Feature, features_of, needs_tfx_bsl, parse_schema
from models.records.codecs.tf_example_schema import read as read
from models.records.record_type import RecordType

EXAMPLE_COLUMN = "@example"

_Lengths = npt.NDArray[np.int64]
_Rows = npt.NDArray[np.bool_]
_LARGE = {"INT": pa.int64(), "FLOAT": pa.float32(), "BYTES": pa.large_binary()}


def make(kind: RecordType) -> RecordCodec:
    """Creates the codec of a schema of features. It imports tfx-bsl, so that this happens before the first record."""
    return TfExampleCodec(kind.name, kind.text)


class TfExampleCodec:
    """Decodes serialized examples of one schema.

    Args:
      name: the record type's name.
      text: the schema, a text proto of tensorflow_metadata.

    Raises:
      SchemaError: the schema cannot be used, or tfx-bsl is not installed.
    """

    def __init__(self, name: str, text: str) -> None:
        with needs_tfx_bsl():
            from tfx_bsl.coders.example_coder import ExamplesToRecordBatchDecoder, RecordBatchToExamplesEncoder
        self.name = name
        schema = parse_schema(name, text)
        self._features = features_of(name, schema)
        serialized = schema.SerializeToString()
        self._new_decoder: Callable[[], Any] = lambda: ExamplesToRecordBatchDecoder(serialized)
        self._new_checker: Callable[[], Any] = lambda: ExamplesToRecordBatchDecoder(b"")
        self._new_encoder: Callable[[], Any] = RecordBatchToExamplesEncoder
        sample = self.encode({feature.name: feature.sample for feature in self._features})
        self.fields = pa.schema(
            [pa.field(one.name, one.arrow, not one.required) for one in self._features]
            + [whole_record_field(EXAMPLE_COLUMN, sample)]
        )
        self.embedding = Embedding("avro", "bytes")
        self._parse([sample])

    def decode(self, values: pa.BinaryArray, headers: Mapping[int, Headers] | None = None) -> DecodedRecords:
        """See `RecordCodec`."""
        errors = dict.fromkeys(np.flatnonzero(values.is_null().to_numpy(zero_copy_only=False)).tolist(), NO_VALUE)
        places = np.flatnonzero(values.is_valid().to_numpy(zero_copy_only=False)).astype(np.int64)
        messages = values.to_pylist() if not errors else values.drop_null().to_pylist()
        try:
            parsed = self._parse(messages)
        except _RefusedError:
            refused = self._refused(messages)
            errors.update({int(places[at]): reason for at, reason in refused.items()})
            good = [at for at in range(len(messages)) if at not in refused]
            places, messages = places[good], [messages[at] for at in good]
            parsed = self._parse(messages)
        columns, good_rows, reasons = self._columns(parsed, len(messages))
        if reasons:
            errors.update({int(places[row]): reason for row, reason in reasons.items()})
            kept = np.flatnonzero(good_rows)
            columns = [column.take(pa.array(kept)) for column in columns]
            places, messages = places[kept], [messages[row] for row in kept.tolist()]
        whole = values.take(pa.array(places)) if errors else values
        batch = pa.RecordBatch.from_arrays([*columns, whole], schema=self.fields)
        texts = {place: malformed(self.name, reason) for place, reason in errors.items()}
        return DecodedRecords(batch, places, texts, pa.array(map(encode_bytes, messages), pa.binary()))

    def columns_of(self, row: Mapping[str, Any]) -> pa.RecordBatch:
        """See `RecordCodec`."""
        return decoded_row(self, row)

    def encode(self, row: Mapping[str, Any]) -> bytes:
        """See `RecordCodec`. Fields that are not features are ignored, as with fastavro."""
        names, columns = [], []
        for feature in self._features:
            value = row.get(feature.name)
            if value is None and feature.required:
                raise ValueError(f"feature {feature.name!r} is missing")
            if value is None:
                continue
            names.append(feature.name)
            columns.append(pa.array([feature.values(value)], pa.large_list(_LARGE[feature.kind])))
        if not names:
            return b""
        (message,) = self._new_encoder().encode(pa.RecordBatch.from_arrays(columns, names=names))
        return bytes(message)

    def _parse(self, messages: Sequence[bytes]) -> pa.RecordBatch:
        """A list column for each feature; raises _RefusedError if a message is malformed."""
        parsed = _parse_with(self._new_decoder(), messages)
        if self._features and parsed.num_rows != len(messages):
            raise _RefusedError(f"it produced {parsed.num_rows} rows")
        return parsed

    def _refused(self, messages: Sequence[bytes]) -> dict[int, str]:
        """The reasons why messages cannot be parsed, by place.

        Messages that are not examples are found first, with a decoder without features, because a decoder with many
        features is slow to create.
        """
        numbered = list(enumerate(messages))
        refused = dict(_find_refused(numbered, lambda some: _parse_with(self._new_checker(), some)))
        rest = [(place, message) for place, message in numbered if place not in refused]
        return {**refused, **dict(_find_refused(rest, self._parse))}

    def _columns(self, parsed: pa.RecordBatch, count: int) -> tuple[list[pa.Array], _Rows, dict[int, str]]:
        """A column for each feature, the rows that follow the schema, and the reasons why others do not."""
        good = np.ones(count, np.bool_)
        reasons: dict[int, str] = {}
        columns = []
        for feature in self._features:
            lists = parsed.column(parsed.schema.get_field_index(feature.name))
            lengths = pc.list_value_length(lists).fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
            items, garbled = _items(feature, lists, lengths)
            wrong = ~feature.allows(lengths)
            for row in np.flatnonzero((wrong | garbled) & good).tolist():
                reasons[row] = feature.misfit(int(lengths[row])) if wrong[row] else f"{feature.title} is not UTF-8"
            good &= ~(wrong | garbled)
            columns.append(_scalars(items, lengths) if feature.scalar else _lists(items, lengths))
        return columns, good, reasons


class _RefusedError(Exception):
    """tfx-bsl rejects these messages."""


def _parse_with(decoder: Any, messages: Sequence[bytes]) -> pa.RecordBatch:
    try:
        return decoder.DecodeBatch(messages)
    except (RuntimeError, ValueError) as error:
        raise _RefusedError(_reason(error)) from error


def _find_refused(
    numbered: Sequence[tuple[int, bytes]], parse: Callable[[Sequence[bytes]], Any]
) -> Iterator[tuple[int, str]]:
    """The indices of the messages that `parse` rejects, with reasons; halving finds a few of them in a few calls."""
    try:
        parse([message for _, message in numbered])
    except _RefusedError as error:
        if len(numbered) == 1:
            yield numbered[0][0], str(error)
            return
        half = len(numbered) // 2
        yield from _find_refused(numbered[:half], parse)
        yield from _find_refused(numbered[half:], parse)


def _reason(error: Exception) -> str:
    """The message of tfx-bsl, without the name of the status.

    Example:
      >>> _reason(RuntimeError("DATA_LOSS: Unable to parse example."))
      'Unable to parse example.'
    """
    status, _, text = str(error).partition(": ")
    return text if text and status.isupper() else str(error)


def _items(feature: Feature, lists: pa.LargeListArray, lengths: _Lengths) -> tuple[pa.Array, _Rows]:
    """The items of all lists, and the rows with an item that is not valid text."""
    items = lists.flatten()
    garbled = np.zeros(len(lengths), np.bool_)
    if feature.kind != "BYTES":
        return items, garbled
    items = items.cast(pa.binary())
    if not feature.text:
        return items, garbled
    try:
        return items.cast(pa.string()), garbled
    except pa.ArrowInvalid:
        texts = [_text(item) for item in items.to_pylist()]
    rows = np.repeat(np.arange(len(lengths)), np.maximum(lengths, 0))
    garbled[rows[[text is None for text in texts]]] = True
    return pa.array(["" if text is None else text for text in texts], pa.string()), garbled


def _text(item: bytes) -> str | None:
    try:
        return item.decode()
    except UnicodeDecodeError:
        return None


def _scalars(items: pa.Array, lengths: _Lengths) -> pa.Array:
    """One value per row; null unless there is exactly one."""
    one = lengths == 1
    if one.all():
        return items
    counts = np.maximum(lengths, 0)
    return items.take(pa.array(np.cumsum(counts) - counts, mask=~one))


def _lists(items: pa.Array, lengths: _Lengths) -> pa.ListArray:
    """One list per row, or null if the length is negative."""
    bounds = np.concatenate([[0], np.cumsum(np.maximum(lengths, 0))]).astype(np.int32)
    missing = lengths < 0
    mask = pa.array(missing) if missing.any() else None
    return pa.ListArray.from_arrays(pa.array(bounds, pa.int32()), items, mask=mask)
