"""Results as CloudEvents: the attributes in a result's headers.

The binary content mode of the Kafka protocol binding (CloudEvents specification 1.0.2): the attributes are headers
whose names begin with `ce_`, and the message itself is the event's data. An event's identity, `ce_source` and `ce_id`,
consists of the record's coordinates, so a result that is written again after a crash is the same event.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from models.records.batch import KEY_SCHEMA_HEADER, VALUE_SCHEMA_HEADER, Headers, OffsetSpan
from models.records.codecs.base import Embedding

EVENT_TYPE = "beam.serving.ScoringResult"
_PREFIX = "ce_"
_CONTENT_TYPE = "content-type"
JSON_CONTENT = b"application/json"
_CONTENT_TYPES = {"avro": b"application/avro", "json": JSON_CONTENT}


def carried_headers(headers: Headers, with_key: bool = True) -> Headers:
    """A record's headers without those that describe only the record: its event attributes and its schema.

    Args:
      headers: the headers of the record.
      with_key: whether the result also has the record's key.

    Example:
      >>> carried_headers((("trace", b"1"), ("ce_id", b"2"), ("Content-Type", b"text/plain")))
      (('trace', b'1'),)
    """
    schemas = (VALUE_SCHEMA_HEADER,) if with_key else (VALUE_SCHEMA_HEADER, KEY_SCHEMA_HEADER)
    return tuple(one for one in headers if one[0] not in schemas and not _describes_the_event(one[0].lower()))


def _describes_the_event(name: str) -> bool:
    return name.startswith(_PREFIX) or name == _CONTENT_TYPE


def event_headers(span: OffsetSpan, offsets: Sequence[int], embedding: Embedding) -> list[Headers]:
    """The headers of the results of records at these offsets."""
    named = {"type": EVENT_TYPE, "source": f"/{span.topic}/{span.partition}"}
    shared = attributes(named, _CONTENT_TYPES[embedding.encoding])
    return [with_id(shared, str(offset)) for offset in offsets]


def with_id(shared: Headers, identity: str) -> Headers:
    """The headers of one event, given those that it has in common with others.

    Example:
      >>> with_id((("ce_type", b"t"),), "7")
      (('ce_type', b't'), ('ce_id', b'7'))
    """
    return (*shared, (f"{_PREFIX}id", identity.encode()))


def attributes(named: Mapping[str, str], content_type: bytes) -> Headers:
    """The headers for attributes of an event.

    Args:
      named: the attributes by name, without that of the version of the specification.
      content_type: the type of the data.

    Example:
      >>> attributes({"id": "1"}, JSON_CONTENT)
      (('ce_specversion', b'1.0'), ('ce_id', b'1'), ('content-type', b'application/json'))
    """
    every = {"specversion": "1.0", **named}
    return (*((f"{_PREFIX}{name}", value.encode()) for name, value in every.items()), (_CONTENT_TYPE, content_type))
