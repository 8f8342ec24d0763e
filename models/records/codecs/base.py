"""What every record codec is: from the bytes of messages to columns, and to how a record stands in its result.

A module of this package serves one record format. It exposes two functions::

    def read(name: str, record_format: RecordFormat, options: Mapping[str, str]) -> RecordType
    def make(kind: RecordType) -> RecordCodec

`read` finds the schema that a user named, where the user is; `make` is called in each process that decodes. Both raise
`models.errors.SchemaError` when the schema cannot be used. A new format is one new file, one line in
`models.records.codecs.CODEC_MODULES` and its name in `models.records.record_type.RecordFormat`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    """How records of one type stand in their results, as the field `inputRecord`.

    Attributes:
      encoding: of the results: avro, in Avro's single-object encoding, or json.
      avro_type: of the field, as the JSON of an Avro schema; None for JSON, where it is any JSON value.
      framing: of results in Avro: how they name their schema.
    """

    encoding: ResultEncoding
    avro_type: Any = None
    framing: Framing = SINGLE_OBJECT


@dataclass(frozen=True)
class DecodedRecords:
    """The messages of a list that could be decoded, and why the others could not.

    Attributes:
      columns: one row for each message that could be decoded, with the fields of the codec.
      places: int64 [rows], ascending: where in the list each row came from.
      errors: the reason, in one line, by place of each malformed message.
      embedded: for each row the record as its result embeds it: encoded as `Embedding` says.
    """

    columns: pa.RecordBatch
    places: npt.NDArray[np.int64]
    errors: Mapping[int, str]
    embedded: Sequence[bytes]

    def __len__(self) -> int:
        return len(self.places)


class RecordCodec(Protocol):
    """Decodes the messages of one record type. Thread-safe; made in the process that decodes, never pickled."""

    @property
    def name(self) -> str:
        """The record type's name: the data type of records that name none."""

    @property
    def fields(self) -> pa.Schema:
        """The columns that `decode` gives. A column may hold nulls where its field says so."""

    @property
    def embedding(self) -> Embedding:
        """How records stand in their results."""

    def decode(self, values: pa.BinaryArray, headers: Mapping[int, Headers] | None = None) -> DecodedRecords:
        """Decodes a list of messages; a malformed one spoils no other, whatever its bytes are.

        Args:
          values: null where the message has no value, which is an error of that message.
          headers: by place, of the messages that have some; only formats that put their schema there look at them.
        """

    def columns_of(self, row: Mapping[str, Any]) -> pa.RecordBatch:
        """The columns of one record that is given by its fields, as if its message had been decoded; for samples.

        Raises:
          ValueError: when the row does not follow the schema; fastavro raises TypeError or KeyError, too.
        """

    def encode(self, row: Mapping[str, Any]) -> bytes:
        """One record as a message; for generators and tests.

        Raises:
          ValueError: when the row does not follow the schema; fastavro raises TypeError or KeyError, too.
        """


_SAMPLE = b"beam-serving.sample"


def whole_record_field(name: str, sample: bytes) -> pa.Field:
    """A column that holds the messages themselves, for models that parse records on their own.

    Args:
      name: of the column.
      sample: a message that follows the schema: such a model is warmed up with it, since it refuses an empty one.
    """
    return pa.field(name, pa.binary(), nullable=False, metadata={_SAMPLE: sample})


def sample_of(field: pa.Field) -> bytes | None:
    """The sample of a column of whole messages; None of any other column."""
    sample: bytes | None = (field.metadata or {}).get(_SAMPLE)
    return sample


def decoded_row(codec: RecordCodec, row: Mapping[str, Any]) -> pa.RecordBatch:
    """The columns of one record, by way of its message; raises as `RecordCodec.columns_of` does."""
    decoded = codec.decode(pa.array([codec.encode(row)], pa.binary()))
    for reason in decoded.errors.values():
        raise ValueError(reason)
    return decoded.columns


NO_VALUE = "the message has no value"


def malformed(name: str, reason: str) -> str:
    """The text of a message that could not be decoded.

    Example:
      >>> malformed("wine", NO_VALUE)
      'not a wine record: the message has no value'
    """
    return clean_text(f"not a {name} record: {reason}")
