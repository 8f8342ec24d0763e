"""The interface of record codecs, which decode messages to columns and embed records in results.

Each module of this package serves one record format and exposes two functions::

    def read(name: str, record_format: RecordFormat, options: Mapping[str, str]) -> RecordType
    def make(kind: RecordType) -> RecordCodec

`read` finds the schema that a user named, on the user's machine; `make` is called in each process that decodes. Both
raise `models.errors.SchemaError` if the schema cannot be used. A new format takes one new file, one line in
`models.records.codecs.CODEC_MODULES`, and its name in `models.records.record_type.RecordFormat`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from models.encoding.framing import SINGLE_OBJECT, Framing
from models.records.batch import Headers
from models.text import clean_text

ResultEncoding = Literal["avro", "json"]


@dataclass(frozen=True)
class Embedding:
    """How results embed records of one type, in the field `inputRecord`.

    Attributes:
      encoding: the encoding of results: avro or json.
      avro_type: the type of the field, as the JSON of an Avro schema; None for JSON, which allows any JSON value.
      framing: how results in Avro name their schema.
    """

    encoding: ResultEncoding
    avro_type: Any = None
    framing: Framing = SINGLE_OBJECT


@dataclass(frozen=True)
class DecodedRecords:
    """The decoded messages of a list, and the reasons why the others are malformed.

    Attributes:
      columns: one row for each decoded message, with the fields of the codec.
      places: int64 [rows], ascending: the place of each row's message in the list.
      errors: the reason for each malformed message, in one line, by place.
      embedded: binary [rows], the records as `Embedding` describes them.
    """

    columns: pa.RecordBatch
    places: npt.NDArray[np.int64]
    errors: Mapping[int, str]
    embedded: pa.BinaryArray

    def __len__(self) -> int:
        return len(self.places)

    def only(self, rows: npt.NDArray[np.int64]) -> pa.RecordBatch:
        """The columns of some rows, in their order; without a copy if these are all rows."""
        every = self.columns
        return every if len(rows) == every.num_rows else every.take(pa.array(rows))


class RecordCodec(Protocol):
    """Decodes the messages of one record type. Thread-safe; created in the process that decodes, and never pickled."""

    @property
    def name(self) -> str:
        """The record type's name, which is the data type of records that do not name one."""

    @property
    def fields(self) -> pa.Schema:
        """The columns that `decode` returns. Only the column of a nullable field contains nulls."""

    @property
    def embedding(self) -> Embedding:
        """How results embed the records."""

    def decode(self, values: pa.BinaryArray, headers: Mapping[int, Headers] | None = None) -> DecodedRecords:
        """Decodes a list of messages. A malformed message does not affect the others, whatever its bytes.

        Args:
          values: the values; a message without a value is null, and counts as malformed.
          headers: the headers of messages that have any, by place; only formats that name schemas in headers use them.
        """

    def columns_of(self, row: Mapping[str, Any]) -> pa.RecordBatch:
        """The columns of one record given by its fields, as if its message had been decoded; used for samples.

        Raises:
          ValueError: the row does not follow the schema; fastavro also raises TypeError and KeyError.
        """

    def encode(self, row: Mapping[str, Any]) -> bytes:
        """Encodes a record as a message, for generators and tests.

        Raises:
          ValueError: the row does not follow the schema; fastavro also raises TypeError and KeyError.
        """


_SAMPLE = b"beam-serving.sample"


def whole_record_field(name: str, sample: bytes) -> pa.Field:
    """A column that holds the messages themselves, for models that parse records.

    Args:
      name: the name of the column.
      sample: a message that follows the schema, which warms up such a model, because it rejects an empty message.
    """
    return pa.field(name, pa.binary(), nullable=False, metadata={_SAMPLE: sample})


def sample_of(field: pa.Field) -> bytes | None:
    """The sample of a column of whole messages; None for any other column."""
    sample: bytes | None = (field.metadata or {}).get(_SAMPLE)
    return sample


def decoded_row(codec: RecordCodec, row: Mapping[str, Any]) -> pa.RecordBatch:
    """The columns of one record, encoded and decoded again; raises the same errors as `RecordCodec.columns_of`."""
    decoded = codec.decode(pa.array([codec.encode(row)], pa.binary()))
    for reason in decoded.errors.values():
        raise ValueError(reason)
    return decoded.columns


NO_VALUE = "the message has no value"


def malformed(name: str, reason: str) -> str:
    """The error text of a message that cannot be decoded.

    Example:
      >>> malformed("wine", NO_VALUE)
      'not a wine record: the message has no value'
    """
    return clean_text(f"not a {name} record: {reason}")
