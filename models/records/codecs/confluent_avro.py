"""Format `confluent-avro`: Avro as written by the serializers of Confluent's clients, with a schema registry.

Messages name their schema as described in `models.records.registry_frames`. A topic may mix ids in front of values, ids
and GUIDs in headers, and different schemas from one message to the next.

Records are read with one schema: the one that was named, or the latest one of a subject (`subject:NAME`) when the
pipeline started. Messages written with another schema are resolved to it by Avro's rules, and appear so in results.

| problem | consequence |
|---|---|
| the registry does not know the id; the schema is not Avro, or does not resolve | a dead letter that names the id |
| the message has no such frame, or its value is malformed | a dead letter |
| the registry does not answer | records wait, and after a while the bundle fails (`models.records.registry`) |

Options of the record type: those of `models.records.registry.registry_options`, and `subject`: the subject under which
the schema is registered when records are written.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from models.errors import SchemaError
from models.records.batch import Headers
from models.records.codecs.avro import AvroCodec
from models.records.codecs.avro_resolution import AvroResolution, same_encoding
from models.records.codecs.avro_schema import checked_schema
from models.records.codecs.avro_schema import read as read_avro
from models.records.codecs.avro_structs import batch_of
from models.records.codecs.base import DecodedRecords, Embedding, RecordCodec, malformed
from models.records.record_type import SUBJECT_OPTION, SUBJECT_PREFIX, RecordFormat, RecordType
from models.records.registered_schemas import RefusedSchema, RegisteredSchemas
from models.records.registry import RegistrySettings, SchemaKey, describe_key, registry_at
from models.records.registry_frames import Frame, frame_of, unframe, without_prefix
from models.records.registry_framing import RegistryFraming
from models.text import error_text


def read(name: str, record_format: RecordFormat, options: Mapping[str, str]) -> RecordType:
    """Reads the record type of a subject, a bundled name or a file.

    Raises:
      SchemaError: the schema does not exist, or is not an Avro record.
      OptionsError: the options do not name a registry.
      RegistryUnreachableError: a subject was named, and the registry does not answer.
    """
    settings = RegistrySettings.from_options(options)
    if not name.startswith(SUBJECT_PREFIX):
        return read_avro(name, record_format, options)
    text = registry_at(settings).latest(name[len(SUBJECT_PREFIX) :])
    return RecordType(str(checked_schema(name, text)["name"]), text, record_format, options)


def make(kind: RecordType) -> RecordCodec:
    """The codec of records that are read with an Avro record schema."""
    settings = RegistrySettings.from_options(kind.options)
    return ConfluentAvroCodec(kind.name, kind.declared, RegistryFraming(settings), kind.options.get(SUBJECT_OPTION))


def results_embedding(options: Mapping[str, str]) -> Embedding:
    """How to read results that name their schemas; raises OptionsError if the options do not name a registry."""
    return Embedding("avro", "bytes", RegistryFraming(RegistrySettings.from_options(options)))


class ConfluentAvroCodec:
    """Decodes messages of any registered schemas to the columns of one record schema.

    Args:
      name: the record type's name.
      declared: the reader's schema, parsed as JSON.
      framing: the framing of results, which also names the registry.
      subject: the subject under which `encode` registers the schema.
      clock: returns a number of seconds that never decreases.
    """

    def __init__(
        self,
        name: str,
        declared: Mapping[str, Any],
        framing: RegistryFraming,
        subject: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self._declared = declared
        self._avro = AvroCodec(name, declared)
        self._framing = framing
        self._subject = subject
        self._resolutions = RegisteredSchemas(self._resolved, clock)
        self.fields = self._avro.fields
        self.embedding = Embedding("avro", declared, framing)

    def decode(self, values: pa.BinaryArray, headers: Mapping[int, Headers] | None = None) -> DecodedRecords:
        """See `RecordCodec`.

        Raises:
          RegistryUnreachableError: a schema is still unknown, and the registry has been silent for too long.
        """
        groups, reasons = unframe(values, headers or {})
        errors = {place: malformed(self.name, reason) for place, reason in reasons.items()}
        parts = [self._decode_group(frame, values, places, errors) for frame, places in groups]
        return self._in_order([part for part in parts if part is not None], errors)

    def _decode_group(
        self, frame: Frame, values: pa.BinaryArray, places: npt.NDArray[np.int64], errors: dict[int, str]
    ) -> DecodedRecords | None:
        """Decodes the messages of one schema; adds the reasons for malformed ones to `errors`, by place in the list."""
        resolution = self._resolutions.of(frame.key)
        if isinstance(resolution, RefusedSchema):
            text = malformed(self.name, resolution.reason)
            errors.update(dict.fromkeys(places.tolist(), text))
            return None
        group = values if len(places) == len(values) else values.take(pa.array(places))
        bodies = without_prefix(group, frame.skipped) if frame.skipped else group
        if resolution is not None:
            rewritten, wrong = resolution.rewrite(bodies)
            bodies = pa.array(rewritten, pa.binary())
            named = f"schema {describe_key(frame.key)}: "
            errors.update({int(places[at]): malformed(self.name, named + reason) for at, reason in wrong.items()})
        decoded = self._avro.decode(bodies)
        for at, text in decoded.errors.items():
            errors.setdefault(int(places[at]), text)
        return DecodedRecords(decoded.columns, places[decoded.places], {}, decoded.embedded)

    def _in_order(self, parts: Sequence[DecodedRecords], errors: dict[int, str]) -> DecodedRecords:
        """The rows of all groups, in the order of their messages."""
        if len(parts) == 1:
            return DecodedRecords(parts[0].columns, parts[0].places, errors, parts[0].embedded)
        if not parts:
            nothing = self._avro.decode(pa.array([], pa.binary()))
            return DecodedRecords(nothing.columns, nothing.places, errors, nothing.embedded)
        places = np.concatenate([part.places for part in parts])
        order = np.argsort(places)
        structs = pa.concat_arrays([part.columns.to_struct_array() for part in parts]).take(pa.array(order))
        embedded = pa.concat_arrays([part.embedded for part in parts]).take(pa.array(order))
        return DecodedRecords(batch_of(structs), places[order], errors, embedded)

    def _resolved(self, key: SchemaKey) -> AvroResolution | None:
        """How messages of a schema are resolved to the reader's schema; None if they are read as they are."""
        writer = self._framing.registry.schema(key)
        return None if same_encoding(writer, self._declared) else _resolution(writer, self._declared)

    def columns_of(self, row: Mapping[str, Any]) -> pa.RecordBatch:
        """See `RecordCodec`. It registers nothing."""
        return self._avro.columns_of(row)

    def encode(self, row: Mapping[str, Any]) -> bytes:
        """See `RecordCodec`. It registers the schema under the subject, which defaults to the record type's name."""
        return self._record_header + self._avro.encode(row)

    @cached_property
    def _record_header(self) -> bytes:
        registry = self._framing.registry
        return frame_of(registry.register(self._subject or self.name, self._declared, patient=False))


def _resolution(writer: Mapping[str, Any], reader: Mapping[str, Any]) -> AvroResolution:
    """Resolves a schema and raises only SchemaError.

    fastavro raises arbitrary exceptions, but the schema of one producer must not stop the stream.
    """
    try:
        return AvroResolution(writer, reader)
    except SchemaError:
        raise
    except Exception as error:
        raise SchemaError(f"it cannot be resolved: {error_text(error)}") from error
