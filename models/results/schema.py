"""The schema of results: the input record, the outputs by name, and the metadata of the call."""

from __future__ import annotations

from typing import Any

import fastavro
import fastavro.schema

from models.errors import SchemaError
from models.records.codecs.base import Embedding
from models.records.record_type import RecordType
from models.schemas import ADDED_FIELDS, bundled_schema

_VALUE_TYPES = (
    ("Floats", "float"),
    ("Doubles", "double"),
    ("Longs", "long"),
    ("Booleans", "boolean"),
    ("Texts", "bytes"),
)


def result_schema(embedding: Embedding, outliers: bool = False) -> dict[str, Any]:
    """The Avro schema of the results of records with this embedding.

    Args:
      embedding: how results embed the records.
      outliers: whether results have the fields for scores of outliers. Without them, the schema is the earlier one.
    """
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
            {"name": "modelResultMetadata", "type": _metadata(outliers)},
        ],
    }


def _metadata(outliers: bool) -> dict[str, Any]:
    schema = bundled_schema("result_metadata")
    if outliers:
        return schema
    added = ADDED_FIELDS["result_metadata"]
    return {**schema, "fields": [field for field in schema["fields"] if field["name"] not in added]}


def check_result_schema(kind: RecordType) -> None:
    """Checks that the record schema fits into a schema of results.

    Raises:
      SchemaError: a type of the records has the same name as one of the result's own types.
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


def register_result_schema(kind: RecordType, topic: str, outliers: bool = False) -> None:
    """Registers the schema of the results if the record format needs it, so that a refusal is reported at startup.

    Raises:
      SchemaError: the registry refuses the schema, for example as incompatible with the subject's earlier ones.
      RegistryUnreachableError: the registry does not answer.
    """
    embedding = kind.codec.embedding
    if embedding.encoding == "avro":
        embedding.framing.header(topic, result_schema(embedding, outliers), patient=False)
