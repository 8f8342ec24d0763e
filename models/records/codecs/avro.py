"""Format `avro`: each message is one value in Avro's binary encoding, with no header.

Whole batches are decoded to columns (`avro_columns`) if the schema allows it and a self-test at startup agrees with
fastavro. Records of other schemas, and messages of unusual shape, are read one by one (`avro_rows`). Both readers
reject the same messages: those that fastavro rejects and, where the specification is stricter, an `int` beyond 32 bits,
an integer beyond 64 bits, a negative length, and a negative index of a union branch or an enum symbol. To keep the cost
of a message in proportion to its length, they also reject an array with more items than there are bytes left, more than
4,096 items that take no bytes (`avro_rows.MOST_EMPTY_ITEMS`), and a value nested deeper than Python's stack.

Why not a library: `pyruhvro` is as fast, but it accepts trailing bytes after a record and panics on types that it does
not implement. The choice of decoder is confined to this file.
"""

from __future__ import annotations

import io
import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

import fastavro
import fastavro.utils
import numpy as np
import pyarrow as pa

from models.errors import SchemaError
from models.records.batch import Headers
from models.records.codecs.avro_columns import ColumnReader
from models.records.codecs.avro_rows import EndlessTypeError, RowReader
from models.records.codecs.avro_schema import read as read
from models.records.codecs.avro_structs import batch_of, structs_of
from models.records.codecs.avro_types import AvroType, record_type, without_logical_types
from models.records.codecs.base import NO_VALUE, DecodedRecords, Embedding, RecordCodec, decoded_row, malformed
from models.records.record_type import RecordType, Row

_LOGGER = logging.getLogger(__name__)
_SAMPLES = 20
# Up to this number of messages, decoding them one by one is faster than columns.
_FEW_MESSAGES = 8
_FEW_BYTES = 1_000


def make(kind: RecordType) -> RecordCodec:
    """Creates the codec of an Avro record schema.

    Raises:
      SchemaError: a type of the schema contains itself in every value, so it has no values.
    """
    try:
        return AvroCodec(kind.name, kind.declared)
    except EndlessTypeError as error:
        raise SchemaError(f"record schema {kind.name!r}: {error}") from error


class AvroCodec:
    """Decodes Avro messages of one record schema.

    Args:
      name: the record type's name.
      declared: the schema, parsed from JSON.
    """

    def __init__(self, name: str, declared: Mapping[str, Any]) -> None:
        self.name = name
        schema = without_logical_types(declared)
        self._parsed = fastavro.parse_schema(schema)
        self._type, self._complete = record_type(schema)
        self.rows = RowReader(schema)
        self._columns = ColumnReader(self._type) if self._complete else None
        if self._columns is not None and not agrees_with_fastavro(self._columns, self._type, self._parsed):
            _LOGGER.warning("records of %r are decoded one by one: the decoder of columns failed its self-test", name)
            self._columns = None
        self.fields = pa.schema(list(self._type.arrow))
        self.embedding = Embedding("avro", declared)

    def decode(self, values: pa.BinaryArray, headers: Mapping[int, Headers] | None = None) -> DecodedRecords:
        """See `RecordCodec`."""
        present = np.flatnonzero(values.is_valid().to_numpy(zero_copy_only=False))
        errors = {}
        if len(present) < len(values):
            absent = np.flatnonzero(values.is_null().to_numpy(zero_copy_only=False)).tolist()
            errors = {place: malformed(self.name, NO_VALUE) for place in absent}
            values = values.take(pa.array(present))
        structs, wrong = self._decode_present(values)
        for place, reason in wrong.items():
            errors[int(present[place])] = malformed(self.name, reason)
        if wrong:
            good = np.setdiff1d(np.arange(len(values)), np.fromiter(wrong, np.int64, len(wrong)))
            structs, values, present = structs.take(pa.array(good)), values.take(pa.array(good)), present[good]
        columns = batch_of(structs)
        return DecodedRecords(columns, present.astype(np.int64), errors, values)

    def _decode_present(self, values: pa.BinaryArray) -> tuple[pa.StructArray, dict[int, str]]:
        """One struct per message, and the reasons why some are malformed; the structs of those are meaningless."""
        if self._columns is None or (len(values) <= _FEW_MESSAGES and values.nbytes <= _FEW_BYTES):
            return self._decode_rows(values, range(len(values)))
        structs, errors, deferred = self._columns.read(values)
        if deferred:
            places = sorted(deferred)
            read, wrong = self._decode_rows(values, places)
            order = np.arange(len(values))
            order[places] = len(values) + np.arange(len(places))
            structs = pa.concat_arrays([structs, read]).take(pa.array(order))
            errors = {**errors, **wrong}
        return structs, errors

    def _decode_rows(self, values: pa.BinaryArray, places: Sequence[int]) -> tuple[pa.StructArray, dict[int, str]]:
        """One struct per place, null for a malformed message, and the reasons."""
        rows: dict[int, Row] = {}
        errors: dict[int, str] = {}
        for place in places:
            try:
                rows[place] = self.rows.read(values[place].as_py())
            except ValueError as error:
                errors[place] = str(error)
        structs, misfits = structs_of(rows, self._type)
        errors.update(misfits)
        if not errors:
            return structs, errors
        good = np.array([place not in errors for place in places], np.bool_)
        return structs.take(pa.array(np.where(good, np.cumsum(good) - 1, 0), mask=~good)), errors

    def columns_of(self, row: Mapping[str, Any]) -> pa.RecordBatch:
        """See `RecordCodec`."""
        return decoded_row(self, row)

    def encode(self, row: Mapping[str, Any]) -> bytes:
        """See `RecordCodec`."""
        buffer = io.BytesIO()
        fastavro.schemaless_writer(buffer, self._parsed, row)
        return buffer.getvalue()


# Longer messages would make the self-test expensive, and brokers reject them by default.
_LONGEST_SAMPLE = 1 << 20


def agrees_with_fastavro(columns: ColumnReader, kind: AvroType, parsed: Any) -> bool:
    """Whether this reader and fastavro agree on random records written by fastavro."""
    if kind.least_bytes > _LONGEST_SAMPLE:
        return True
    try:
        written = []
        for record in fastavro.utils.generate_many(parsed, _SAMPLES):
            buffer = io.BytesIO()
            fastavro.schemaless_writer(buffer, parsed, record)
            written.append(buffer.getvalue())
        structs, errors, deferred = columns.read(pa.array(written, pa.binary()))
        expected = [fastavro.schemaless_reader(io.BytesIO(value), parsed, None) for value in written]
        return not errors and all(
            place in deferred or same(row, expected[place]) for place, row in enumerate(structs.to_pylist())
        )
    except Exception:
        _LOGGER.debug("the self-test of the decoder of columns failed", exc_info=True)
        return False


def same(read: Any, expected: Any) -> bool:
    """Whether Arrow's value equals fastavro's. Arrow represents maps as lists of pairs, and NaN equals NaN here."""
    if isinstance(expected, dict):
        if isinstance(read, list):
            read = dict(read)
        return read.keys() == expected.keys() and all(same(read[name], value) for name, value in expected.items())
    if isinstance(expected, list):
        return len(read) == len(expected) and all(map(same, read, expected))
    if isinstance(expected, float) and math.isnan(expected):
        return isinstance(read, float) and math.isnan(read)
    return type(read) is type(expected) and bool(read == expected)
