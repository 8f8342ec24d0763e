"""Record types: the schema of records, and the format in which their messages come."""

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
RecordFormat = Literal["avro", "json", "confluent-avro", "json-schema", "tf-example"]
DATA_TYPE_FIELD = "dataType"
# Schemas of a schema registry, as `--record-schema` names them, and the subject of the records in a type's options.
SUBJECT_PREFIX = "subject:"
SUBJECT_OPTION = "subject"


@dataclass(frozen=True)
class RecordType:
    """A type of records. It is a plain value, and pickles without the codec that it makes.

    Attributes:
      name: the bundled name, or the schema's own name; the data type of records that name none.
      text: the schema, in the format's own language: of most an Avro record schema as JSON.
      format: of the messages (`models.records.codecs`).
      options: of the format's codec, such as where a schema registry is; each codec's module documents its own.
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
        """The record type of a bundled name, of a schema file, or of what else the format knows schemas by.

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
        """Whether there can be records of a data type: without the field `dataType`, only of the type's own name."""
        return DATA_TYPE_FIELD in self.codec.fields.names or data_type == self.name

    @cached_property
    def codec(self) -> RecordCodec:
        """Decodes the messages; made once in each process.

        Raises:
          SchemaError: when the schema cannot be used with the format.
        """
        codec: RecordCodec = _codec_module(self.format).make(self)
        return codec


def _codec_module(record_format: str) -> Any:
    from models.records.codecs import CODEC_MODULES

    return import_module(CODEC_MODULES[record_format])
