"""Follows one result from its record to the model that answered it, by reading the topics at its coordinates."""

from __future__ import annotations

import json
from typing import Any

from confluent_kafka import Message

from beam_pipeline.dashboard.dead_letters import legible_bytes, payload_of
from beam_pipeline.dashboard.message_reader import MessageReader
from beam_pipeline.dashboard.models_topic import ModelsTopic, listed_json
from beam_pipeline.dashboard.results import check_result
from beam_pipeline.dashboard.settings import Reading, Topics
from models.errors import ServingError
from models.model_topic.published import PublishedVersion
from models.model_topic.publisher import ListedVersion
from models.results.decoder import decode_any, result_as_json
from models.results.legible import legible_record
from models.text import error_text

_SHOWN_BYTES = 16_384
_MOST_VALUES = 200


class NoResultError(ServingError):
    """There is no result at the given coordinates."""


class Tracer:
    """Reads results, and what led to them.

    Args:
      topics: the topics.
      reading: how messages are decoded.
      messages: reads messages.
      models: the versions of the models topic.
    """

    def __init__(self, topics: Topics, reading: Reading, messages: MessageReader, models: ModelsTopic) -> None:
        self._topics = topics
        self._reading = reading
        self._messages = messages
        self._models = models

    def trace(self, partition: int, offset: int) -> dict[str, Any]:
        """The result with these coordinates in the results topic, its record, its model and its route, as JSON.

        Raises:
          NoResultError: there is no such result (any more), or it cannot be decoded.
          KafkaUnreachableError: the broker does not answer.
        """
        found = self._messages.read(self._topics.results, partition, offset)
        where = f"{self._topics.results}-{partition}@{offset}"
        if not found:
            raise NoResultError(f"there is no message at {where} (any more)")
        try:
            result = decode_any(self._reading.results, found[0].value() or b"")
            check_result(result)
            metadata = result["modelResultMetadata"]
            topic, codec = metadata["topic"], self._reading.codec_of(metadata["topic"])
            result["inputRecord"] = legible_record(result["inputRecord"], codec)
            shown = result_as_json(result)
            shown["outputs"] = {name: _limited(tensor) for name, tensor in shown["outputs"].items()}
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise NoResultError(f"the message at {where} is not a result: {error_text(error)}") from error
        return {
            "where": where,
            "at": found[0].timestamp()[1],
            "key": legible_bytes(found[0].key()),
            "metadata": shown["modelResultMetadata"],
            "outputs": shown["outputs"],
            "fields": _limited_json(shown["inputRecord"]),
            "record": self._record(topic, metadata["partition"], metadata["offset"]),
            "model": self._model(metadata["modelName"], metadata["modelVersion"]),
        }

    def _record(self, topic: str, partition: int, offset: int) -> dict[str, Any]:
        """The message of the record. Only topics of records are read, whatever a result names."""
        where = f"{topic}-{partition}@{offset}"
        if topic not in self._topics.records:
            return {"where": where, "missing": "its topic is not among the records topics of this dashboard"}
        found = self._messages.read(topic, partition, offset)
        if not found:
            return {"where": where, "missing": "the message no longer exists"}
        return {"where": where, **_message(found[0])}

    def _model(self, name: str | None, version: int | None) -> dict[str, Any] | None:
        published = None if name is None or version is None else self._models.version(name, version)
        return None if published is None else _published(published)


def _message(message: Message) -> dict[str, Any]:
    value = message.value()
    content = None if value is None else value[:_SHOWN_BYTES]
    return {
        "at": message.timestamp()[1],
        "key": legible_bytes(message.key()),
        "size": None if value is None else len(value),
        "payload": payload_of(content, None if value is None else len(value)),
        "headers": [[name, legible_bytes(one)] for name, one in message.headers() or ()],
    }


def _published(version: PublishedVersion) -> dict[str, Any]:
    descriptor = version.descriptor
    return {
        **listed_json(ListedVersion(descriptor, version.offset, version.inline, "")),
        "signature": descriptor.signature,
        "inputs": {name: list(fields) for name, fields in descriptor.inputs.items()},
        "outputs": dict(descriptor.outputs),
        "options": dict(descriptor.options),
    }


def _limited(tensor: dict[str, Any]) -> dict[str, Any]:
    return {**tensor, "values": tensor["values"][:_MOST_VALUES], "cut": len(tensor["values"]) > _MOST_VALUES}


def _limited_json(fields: Any) -> str:
    """The fields of a record as JSON text, cut if it is long."""
    text = json.dumps(fields, indent=2, ensure_ascii=False, default=str)
    return text if len(text) <= _SHOWN_BYTES else f"{text[:_SHOWN_BYTES]}\n…"
