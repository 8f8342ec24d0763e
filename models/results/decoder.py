"""Reads results back, for consoles and tests."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from models.encoding.framing import MessageDecoder
from models.records.codecs.base import Embedding
from models.results.json_values import json_value
from models.results.schema import result_schema


@dataclass(frozen=True)
class ResultDecoder:
    """Reads the results of records that are embedded in the given way."""

    embedding: Embedding

    @cached_property
    def _decoders(self) -> tuple[MessageDecoder, ...]:
        schemas = (result_schema(self.embedding, outliers) for outliers in (False, True))
        return tuple(map(self.embedding.framing.decoder, schemas))

    def _decode(self, message: bytes) -> dict[str, Any]:
        without, with_outliers = self._decoders
        try:
            return without(message)
        except ValueError:
            try:
                return with_outliers(message)
            except ValueError:
                pass
            raise

    def decode(self, message: bytes) -> dict[str, Any]:
        """A result as {inputRecord, outputs: {name: {shape, values}}, modelResultMetadata}.

        Raises:
          ValueError: the message is not a result of such records.
        """
        if self.embedding.encoding == "json":
            result: dict[str, Any] = json.loads(message)
            return result
        result = self._decode(message)
        for tensor in result["outputs"].values():
            tensor["values"] = tensor["values"]["items"]
        metadata = result["modelResultMetadata"]
        metadata["startTime"] = round(metadata["startTime"].timestamp() * 1e6)
        return result


def decode_any(decoders: Sequence[ResultDecoder], message: bytes) -> dict[str, Any]:
    """Decodes a result of one of several record types, each of which has a decoder.

    Raises:
      ValueError: the message is not a result of any of these types.
    """
    errors = []
    for decoder in decoders:
        try:
            return decoder.decode(message)
        except ValueError as error:
            errors.append(str(error))
    raise ValueError("; ".join(dict.fromkeys(errors)))


def result_as_json(result: dict[str, Any]) -> dict[str, Any]:
    """Converts a decoded result to JSON values: non-finite numbers become null, and bytes that are not text base64."""
    return {name: _plain(value) for name, value in result.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return json_value(value)
