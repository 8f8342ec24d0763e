"""Makes the records that results embed readable for people."""

from __future__ import annotations

import base64
from typing import Any

import pyarrow as pa

from models.records.codecs.base import RecordCodec, sample_of


def legible_record(record: Any, codec: RecordCodec | None) -> Any:
    """A record as its fields, even if results embed it as the bytes of its message.

    Bytes that do not follow the schema (it may have changed since) are base64, even if they happen to be text.
    """
    if not isinstance(record, bytes) or codec is None:
        return record
    decoded = codec.decode(pa.array([record], pa.binary()))
    if decoded.errors:
        return {"base64": base64.b64encode(record).decode()}
    shown = [field.name for field in codec.fields if sample_of(field) is None]
    row: dict[str, Any] = decoded.columns.select(shown).to_pylist()[0]
    return row
