"""Record codecs by format: a new format takes one new file and one line in this table."""

from __future__ import annotations

# Maps each format to its module, which is imported when a record type of that format is used.
CODEC_MODULES = {
    "avro": "models.records.codecs.avro",
    "json": "models.records.codecs.json",
    "confluent-avro": "models.records.codecs.confluent_avro",
    "json-schema": "models.records.codecs.json_schema",
    "protobuf": "models.records.codecs.protobuf",
    "tf-example": "models.records.codecs.tf_example",
}
