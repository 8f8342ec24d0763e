"""Format `confluent-avro`: Avro as the serializers of Confluent's clients write it, with a schema registry.

A message is the byte 0, the id of its schema in four bytes (big-endian), and the value in Avro's binary encoding. Newer
clients put the schema's GUID into the header `__value_schema_id` instead (the byte 1 and 16 bytes), and the value
stands alone; both are read, also mixed, and so are schemas that change from one message to the next.

Records are read with one schema: the one that was named, or the latest of a subject (`subject:NAME`) when the pipeline
started. Messages that were written with another are resolved to it by Avro's rules, and stand in their results so.

| what is wrong | what comes of it |
|---|---|
| the registry does not know the id; the schema is not Avro, or does not resolve | a dead letter that names the id |
| the message has no such frame, or its value is malformed | a dead letter |
| the registry does not answer | records wait, and after a while the bundle fails (`models.records.registry`) |

Options of the record type: those of `models.records.registry.registry_options`, and `subject`: of the records, to
register their schema under when records are written.
"""

from __future__ import annotations

import io
import struct
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from typing import Any

import fastavro
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from models.encoding.framing import MessageDecoder
from models.errors import RegistryUnreachableError, SchemaError
from models.records.batch import VALUE_SCHEMA_HEADER, Headers
from models.records.codecs.avro import AvroCodec
from models.records.codecs.avro_resolution import AvroResolution, same_encoding
from models.records.codecs.avro_schema import checked_schema
from models.records.codecs.avro_schema import read as read_avro
from models.records.codecs.base import NO_VALUE, DecodedRecords, Embedding, RecordCodec, malformed
from models.records.record_type import SUBJECT_OPTION, SUBJECT_PREFIX, RecordFormat, RecordType
from models.records.registry import RegistrySettings, SchemaKey, SchemaRegistry, describe_key, registry_at
from models.text import error_text

_ID_MARK, _GUID_MARK = 0, 1
_ID_FRAME, _GUID_FRAME = 5, 17
_ID = struct.Struct(">bI")
_MOST_SCHEMAS = 1_000
# A schema may be registered, or reach this registry, after its first message: so long an id counts as unknown.
_UNKNOWN_SECONDS = 30.0


def read(name: str, record_format: RecordFormat, options: Mapping[str, str]) -> RecordType:
    """The record type of a subject, of a bundled name, or of a file.

    Raises:
      SchemaError: when there is no such schema, or it is not an Avro record.
      OptionsError: when the options name no registry.
      RegistryUnreachableError: when a subject is asked for and the registry does not answer.
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
    """How to read results that name their schemas themselves; raises OptionsError when the options name no registry."""
    return Embedding("avro", "bytes", RegistryFraming(RegistrySettings.from_options(options)))


@dataclass(frozen=True)
class RegistryFraming:
    """Messages of ours as other clients read them: their schemas are registered as `TOPIC-value`."""

    settings: RegistrySettings

    @property
    def registry(self) -> SchemaRegistry:
        """The registry."""
        return registry_at(self.settings)

    def header(self, topic: str, schema: Mapping[str, Any], patient: bool = True) -> bytes:
        """See `Framing`."""
        return _ID.pack(_ID_MARK, self.registry.register(f"{topic}-value", schema, patient))

    def decoder(self, schema: Mapping[str, Any]) -> MessageDecoder:
        """See `Framing`; a message is read with the schema that it names."""
        return partial(_decode_framed, lru_cache(_MOST_SCHEMAS)(self._parsed))

    def _parsed(self, number: int) -> Any:
        return fastavro.parse_schema(self.registry.schema(number, patient=False), {})


def _decode_framed(schema_of: Callable[[int], Any], message: bytes) -> dict[str, Any]:
    """The value of a message that is framed with a schema id."""
    if len(message) < _ID_FRAME or message[0] != _ID_MARK:
        raise ValueError(f"not framed with a schema id: its first bytes are {message[:_ID_FRAME].hex() or 'none'}")
    number = _ID.unpack_from(message)[1]
    buffer = io.BytesIO(message)
    buffer.seek(_ID_FRAME)
    try:
        value = fastavro.schemaless_reader(buffer, schema_of(number), None)
    except RegistryUnreachableError:
        raise
    except SchemaError as error:
        raise ValueError(str(error)) from error
    except Exception as error:  # fastavro raises whatever the broken bytes lead it to
        raise ValueError(f"broken message of schema id {number}: {error_text(error)}") from error
    if buffer.tell() != len(message):
        raise ValueError(f"broken message of schema id {number}: {len(message) - buffer.tell()} bytes follow its end")
    if not isinstance(value, dict):
        raise ValueError(f"schema id {number} is not a record")
    return value


@dataclass(frozen=True)
class _Frame:
    """How messages name their schema: by what, and how many bytes stand before the value."""

    key: SchemaKey
    skipped: int


@dataclass(frozen=True)
class _Refused:
    """Why messages of a schema cannot be read, and when the registry is asked again."""

    reason: str
    until: float


# None: messages of that schema are read as they are.
_Resolution = AvroResolution | _Refused | None


class ConfluentAvroCodec:
    """Decodes messages of any registered schemas to the columns of one record schema.

    Args:
      name: the record type's name.
      declared: the reader's schema, as JSON has it.
      framing: of results; where the registry is.
      subject: under which `encode` registers the schema.
      clock: seconds, steadily rising.
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
        self._clock = clock
        self._lock = threading.Lock()
        self._resolutions: OrderedDict[SchemaKey, _Resolution] = OrderedDict()
        self.fields = self._avro.fields
        self.embedding = Embedding("avro", declared, framing)

    def decode(self, values: pa.BinaryArray, headers: Mapping[int, Headers] | None = None) -> DecodedRecords:
        """See `RecordCodec`.

        Raises:
          RegistryUnreachableError: when a schema is not known yet and the registry does not answer for long.
        """
        groups, reasons = unframe(values, headers or {})
        errors = {place: malformed(self.name, reason) for place, reason in reasons.items()}
        parts = [self._decode_group(frame, values, places, errors) for frame, places in groups]
        return self._in_order([part for part in parts if part is not None], errors)

    def _decode_group(
        self, frame: _Frame, values: pa.BinaryArray, places: npt.NDArray[np.int64], errors: dict[int, str]
    ) -> DecodedRecords | None:
        """Decodes the messages of one schema; adds to `errors`, by place among all, why some cannot be."""
        resolution = self._resolution(frame.key)
        if isinstance(resolution, _Refused):
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
            return DecodedRecords(nothing.columns, nothing.places, errors, [])
        places = np.concatenate([part.places for part in parts])
        order = np.argsort(places)
        structs = pa.concat_arrays([part.columns.to_struct_array() for part in parts]).take(pa.array(order))
        embedded = [value for part in parts for value in part.embedded]
        columns = pa.RecordBatch.from_struct_array(structs)
        return DecodedRecords(columns, places[order], errors, [embedded[at] for at in order.tolist()])

    def _resolution(self, key: SchemaKey) -> _Resolution:
        """How messages of a schema become messages of ours; asks the registry for what is not known yet."""
        with self._lock:
            if key in self._resolutions:
                known = self._resolutions[key]
                if not isinstance(known, _Refused) or self._clock() < known.until:
                    self._resolutions.move_to_end(key)
                    return known
        found = self._resolved(key)  # without the lock: others go on meanwhile
        with self._lock:
            self._resolutions[key] = found
            self._resolutions.move_to_end(key)
            while len(self._resolutions) > _MOST_SCHEMAS:
                self._resolutions.popitem(last=False)
        return found

    def _resolved(self, key: SchemaKey) -> _Resolution:
        try:
            writer = self._framing.registry.schema(key)
            return None if same_encoding(writer, self._declared) else _resolution(writer, self._declared)
        except SchemaError as error:
            reason = str(error) if describe_key(key) in str(error) else f"schema {describe_key(key)}: {error}"
            return _Refused(reason, self._clock() + _UNKNOWN_SECONDS)

    def columns_of(self, row: Mapping[str, Any]) -> pa.RecordBatch:
        """See `RecordCodec`; registers nothing."""
        return self._avro.columns_of(row)

    def encode(self, row: Mapping[str, Any]) -> bytes:
        """See `RecordCodec`; registers the schema under the subject of the options, or else the record's name."""
        return self._record_header + self._avro.encode(row)

    @cached_property
    def _record_header(self) -> bytes:
        registry = self._framing.registry
        return _ID.pack(_ID_MARK, registry.register(self._subject or self.name, self._declared, patient=False))


def _resolution(writer: Mapping[str, Any], reader: Mapping[str, Any]) -> AvroResolution:
    """Raises SchemaError, whatever a writer's schema leads fastavro to: one producer must not end the stream."""
    try:
        return AvroResolution(writer, reader)
    except SchemaError:
        raise
    except Exception as error:
        raise SchemaError(f"it cannot be resolved: {error_text(error)}") from error


def without_prefix(values: pa.BinaryArray, length: int) -> pa.BinaryArray:
    """The messages without their first bytes; none of them is null or shorter. (Arrow's `binary_slice` fails on some.)

    Example:
      >>> without_prefix(pa.array([b"abc", b"de"], pa.binary()), 2).to_pylist()
      [b'c', b'']
    """
    starts = np.frombuffer(values.buffers()[1], np.int32, len(values) + 1, values.offset * 4)
    content = np.frombuffer(values.buffers()[2], np.uint8)[starts[0] : starts[-1]]
    offsets = starts - starts[0]
    kept = np.ones(len(content), np.bool_)
    for byte in range(length):
        kept[offsets[:-1] + byte] = False
    shorter = (offsets - length * np.arange(len(offsets))).astype(np.int32)
    return pa.Array.from_buffers(pa.binary(), len(values), [None, pa.py_buffer(shorter), pa.py_buffer(content[kept])])


def unframe(
    values: pa.BinaryArray, headers: Mapping[int, Headers]
) -> tuple[list[tuple[_Frame, npt.NDArray[np.int64]]], dict[int, str]]:
    """The places of the messages of each schema, and why others name none."""
    starts = np.frombuffer(values.buffers()[1] or b"\0\0\0\0", np.int32, len(values) + 1, values.offset * 4)
    content = np.frombuffer(values.buffers()[2] or b"", np.uint8)
    content = np.concatenate([content, np.zeros(_ID_FRAME, np.uint8)]) if len(content) < _ID_FRAME else content
    begins, lengths = starts[:-1].astype(np.int64), np.diff(starts)
    framed = values.is_valid().to_numpy(zero_copy_only=False) & (lengths >= _ID_FRAME)
    framed[framed] = content[begins[framed]] == _ID_MARK
    named, reasons = _named_by_headers(values, headers)
    framed[[*named, *reasons]] = False
    groups: dict[_Frame, list[int]] = {}
    for place, frame in named.items():
        groups.setdefault(frame, []).append(place)
    for place in np.flatnonzero(~framed).tolist():
        if place not in named and place not in reasons:
            _unframe_one(values[place].as_py(), place, groups, reasons)
    found = [(frame, np.array(places, np.int64)) for frame, places in groups.items()]
    return [*_by_id(content, begins, np.flatnonzero(framed)), *found], reasons


def _by_id(
    content: npt.NDArray[np.uint8], begins: npt.NDArray[np.int64], places: npt.NDArray[np.int64]
) -> list[tuple[_Frame, npt.NDArray[np.int64]]]:
    """The places of each id, of messages that are framed with one."""
    ids = np.zeros(len(places), np.int64)
    for byte in range(1, _ID_FRAME):
        ids = ids << 8 | content[begins[places] + byte]
    if len(ids) and (ids == ids[0]).all():
        return [(_Frame(int(ids[0]), _ID_FRAME), places)]
    return [(_Frame(number, _ID_FRAME), places[ids == number]) for number in np.unique(ids).tolist()]


def _unframe_one(value: bytes | None, place: int, groups: dict[_Frame, list[int]], reasons: dict[int, str]) -> None:
    """A message that is not framed with an id: with a GUID, or not at all."""
    if value is None:
        reasons[place] = NO_VALUE
    elif len(value) >= _GUID_FRAME and value[0] == _GUID_MARK:
        groups.setdefault(_Frame(uuid.UUID(bytes=value[1:_GUID_FRAME]), _GUID_FRAME), []).append(place)
    else:
        reasons[place] = f"it is not framed with a schema id; its first bytes are {value[:_ID_FRAME].hex() or 'none'}"


def _named_by_headers(
    values: pa.BinaryArray, headers: Mapping[int, Headers]
) -> tuple[dict[int, _Frame], dict[int, str]]:
    """The messages whose schema a header names, and why some headers cannot be read; where there is no value, none."""
    named, reasons = {}, {}
    for place, one in headers.items():
        content = next((content for name, content in one if name == VALUE_SCHEMA_HEADER), None)
        if content is None or not values[place].is_valid:
            continue
        if len(content) == _GUID_FRAME and content[0] == _GUID_MARK:
            named[place] = _Frame(uuid.UUID(bytes=content[1:]), 0)
        elif len(content) == _ID_FRAME and content[0] == _ID_MARK:
            named[place] = _Frame(_ID.unpack(content)[1], 0)
        else:
            reasons[place] = (
                f"its header {VALUE_SCHEMA_HEADER} is not a schema id: {content[:_GUID_FRAME].hex() or 'empty'}"
            )
    return named, reasons
