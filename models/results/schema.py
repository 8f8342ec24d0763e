"""The schema of results: the input record, the outputs by name, and what is known of the call that gave them."""

from __future__ import annotations

from typing import Any

import fastavro
import fastavro.schema

from models.errors import SchemaError
from models.records.codecs.base import Embedding
from models.records.record_type import RecordType
from models.schemas import bundled_schema

_VALUE_TYPES = (
    ("Floats", "float"),
    ("Doubles", "double"),
    ("Longs", "long"),
    ("Booleans", "boolean"),
    ("Texts", "bytes"),
)


def result_schema(embedding: Embedding) -> dict[str, Any]:
    """The Avro schema of the results of records that are embedded so."""
    branches = [
        {"type": "record", "name": name, "fields": [{"name": "items", "type": {"type": "array", "items": kind}}]}
        for name, kind in _VALUE_TYPES
    ]
    tensor = {
        "type": "record",
        "name": "Tensor",
        "fields": [{"name": "shape", "type": {"type": "array", "items": "long"}}, {"name": "values", "type": branches}],
    }
    return {
        "type": "record",
        "name": "ScoringResult",
        "namespace": "beam.serving",
        "fields": [
            {"name": "inputRecord", "type": embedding.avro_type},
            {"name": "outputs", "type": {"type": "map", "values": tensor}},
            {"name": "modelResultMetadata", "type": bundled_schema("result_metadata")},
        ],
    }


def check_result_schema(kind: RecordType) -> None:
    """Checks that the results of such records can have a schema.

    Raises:
      SchemaError: when a type of the records has the name of one of ours.
    """
    embedding = kind.codec.embedding
    if embedding.encoding == "json":
        return
    try:
        fastavro.parse_schema(result_schema(embedding))
    except fastavro.schema.SchemaParseException as error:
        raise SchemaError(
            f"record schema {kind.name!r} does not fit into the schema of results: {error}; "
            "give its types a namespace of their own"
        ) from error


def register_result_schema(kind: RecordType, topic: str) -> None:
    """Registers the schema of the results where the record format wants that, so that a refusal is seen at the start.

    Raises:
      SchemaError: when the registry refuses it, for example as incompatible with what is on the topic.
      RegistryUnreachableError: when the registry does not answer.
    """
    embedding = kind.codec.embedding
    if embedding.encoding == "avro":
        embedding.framing.header(topic, result_schema(embedding), patient=False)
