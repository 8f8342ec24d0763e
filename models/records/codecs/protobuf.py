"""Format `protobuf`: each message is one serialized protobuf message of a descriptor set (`protobuf_schema`).

google.protobuf itself parses the messages. Each field becomes a column of the same name, except that a field with the
JSON name `dataType`, such as `data_type`, becomes the column `dataType`.

| field | column |
|---|---|
| numbers, bool, string, bytes | the same type of Arrow |
| enum | the name of its value as text, or the number as text if the schema does not name it |
| message | a struct, also for Timestamp and Duration; wrappers such as Int64Value are nullable values |
| repeated, map | a list, a map |
| with presence (`optional`, in a oneof, a message, proto2) | null where it is not set |
| without presence | its default value where it is not set |

Unknown fields are ignored. A known field with the wrong wire type makes a record malformed: protobuf's parsers treat it
as unknown, so its default would be scored. Results embed the message's bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from google.protobuf import message_factory
from google.protobuf.message import DecodeError

from models.encoding.avro_bytes import encode_bytes
from models.records.batch import Headers
from models.records.codecs.base import NO_VALUE, DecodedRecords, Embedding, RecordCodec, decoded_row, malformed
from models.records.codecs.protobuf_columns import MessageColumns, message_columns
from models.records.codecs.protobuf_schema import declared_message
from models.records.codecs.protobuf_schema import read as read
from models.records.record_type import RecordType
from models.text import error_text


def make(kind: RecordType) -> RecordCodec:
    """The codec of serialized messages of one type."""
    return ProtobufCodec(kind.name, declared_message(kind))


class ProtobufCodec:
    """Decodes serialized messages of one type.

    Args:
      name: the record type's name.
      descriptor: the descriptor of the message type.

    Raises:
      SchemaError: the message type cannot be represented as columns.
    """

    def __init__(self, name: str, descriptor: Any) -> None:
        self.name = name
        self._message: MessageColumns = message_columns(descriptor)
        self._class = message_factory.GetMessageClass(descriptor)
        self._names = {column.field.name: column.declared.name for column in self._message.columns}
        self.fields = pa.schema([column.field for column in self._message.columns])
        self.embedding = Embedding("avro", "bytes")

    def decode(self, values: pa.BinaryArray, headers: Mapping[int, Headers] | None = None) -> DecodedRecords:
        """See `RecordCodec`."""
        messages: dict[int, Any] = {}
        errors: dict[int, str] = {}
        contents = values.to_pylist()
        for place, content in enumerate(contents):
            parsed = NO_VALUE if content is None else self._parse(content)
            (errors if isinstance(parsed, str) else messages)[place] = parsed
        try:
            columns = self._columns(list(messages.values()))
        except (pa.ArrowException, ValueError):
            for place, message in list(messages.items()):
                reason = self._misfit(message)
                if reason is not None:
                    errors[place] = reason
                    del messages[place]
            columns = self._columns(list(messages.values()))
        texts = {place: malformed(self.name, reason) for place, reason in errors.items()}
        embedded = pa.array([encode_bytes(contents[place]) for place in messages], pa.binary())
        return DecodedRecords(columns, np.array(list(messages), np.int64), texts, embedded)

    def columns_of(self, row: Mapping[str, Any]) -> pa.RecordBatch:
        """See `RecordCodec`."""
        return decoded_row(self, row)

    def encode(self, row: Mapping[str, Any]) -> bytes:
        """See `RecordCodec`. Nested messages are mappings, enum values are names, and None leaves a field unset."""
        given = {self._names[name]: value for name, value in row.items() if name in self._names and value is not None}
        return bytes(self._class(**given).SerializeToString())

    def _parse(self, content: bytes) -> Any:
        """The message, or the reason why it is malformed."""
        try:
            message = self._class.FromString(content)
        except DecodeError:
            return "it is truncated, is not a protobuf message, or has a text that is not UTF-8"
        if self._message.required and not message.IsInitialized():
            return f"required fields are missing: {', '.join(message.FindInitializationErrors())}"
        return self._message.misfit(message) or message

    def _columns(self, messages: Sequence[Any]) -> pa.RecordBatch:
        if not self._message.columns:
            return pa.RecordBatch.from_struct_array(pa.array([{}] * len(messages), pa.struct([])))
        return pa.RecordBatch.from_arrays(
            [column.array(messages) for column in self._message.columns], schema=self.fields
        )

    def _misfit(self, message: Any) -> str | None:
        """Why a message does not fit the columns, if so; parsers of proto2 accept strings that are not UTF-8."""
        try:
            self._columns([message])
        except (pa.ArrowException, ValueError) as error:
            return error_text(error)
        return None
