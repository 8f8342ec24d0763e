"""Record types: the schema of records, and the format of their messages."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from models.records.codecs.base import RecordCodec

Row = dict[str, Any]
RecordFormat = Literal["avro", "json", "confluent-avro", "json-schema", "protobuf", "tf-example"]
DATA_TYPE_FIELD = "dataType"
# The prefix of registry subjects in `--record-schema`, and the option that holds the subject of a topic's records.
SUBJECT_PREFIX = "subject:"
SUBJECT_OPTION = "subject"


@dataclass(frozen=True)
class RecordType:
    """A type of records: a plain value, which is pickled without its codec.

    Attributes:
      name: the bundled name, or the schema's own name; the data type of records that name none.
      text: the schema in the language of the format: for most formats, an Avro record schema as JSON.
      format: the format of the messages (`models.records.codecs`).
      options: the options of the codec, such as the address of a schema registry; each codec's module lists its own.
    """

    name: str
    text: str
    format: RecordFormat = "avro"
    options: Mapping[str, str] = field(default_factory=dict)

    def __reduce__(self) -> tuple[Callable[..., RecordType], tuple[Any, ...]]:
        return RecordType, (self.name, self.text, self.format, dict(self.options))

    @classmethod
    def named(
        cls, name: str, record_format: RecordFormat = "avro", options: Mapping[str, str] | None = None
    ) -> RecordType:
        """The record type of a bundled name, a schema file, or another name that the format supports.

        Raises:
          SchemaError: when there is no such schema, or it cannot be used with the format.
        """
        record_type: RecordType = _codec_module(record_format).read(name, record_format, options or {})
        return record_type

    @cached_property
    def declared(self) -> dict[str, Any]:
        """The Avro schema as it was given."""
        schema: dict[str, Any] = json.loads(self.text)
        return schema

    def may_score(self, data_type: str) -> bool:
        """Whether records can have a data type; without the field `dataType`, they only have the type's own name."""
        return DATA_TYPE_FIELD in self.codec.fields.names or data_type == self.name

    @cached_property
    def codec(self) -> RecordCodec:
        """The codec of the messages, created once per process.

        Raises:
          SchemaError: when the schema cannot be used with the format.
        """
        codec: RecordCodec = _codec_module(self.format).make(self)
        return codec


def _codec_module(record_format: str) -> Any:
    from models.records.codecs import CODEC_MODULES

    return import_module(CODEC_MODULES[record_format])
