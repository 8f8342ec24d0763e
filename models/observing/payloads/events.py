"""Payloads as CloudEvents in a topic of Kafka: the data of an event is JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from functools import cache, lru_cache
from typing import Any

import numpy as np
import orjson

from models.columns.scored import ModelCall
from models.observing.instruments import PAYLOADS
from models.observing.observer import Meter
from models.observing.payloads.payload import Payload
from models.records.batch import Headers
from models.records.outgoing import OutgoingMessage
from models.results.cloud_events import JSON_CONTENT, attributes, with_id
from models.results.json_values import json_value
from models.tensors import Array

EVENT_TYPE = "beam.serving.Prediction"

MOST_VALUES = 1_000
"""The maximum number of values of a tensor in an event; of a larger one, the event has only the type and shape."""

MOST_BYTES = 256 * 1024
"""The maximum size of an event's data; in a larger one, all tensors are without values, or left out altogether."""

Send = Callable[[OutgoingMessage], None]


class PayloadTopic:
    """Sends payloads to a topic; see `models.observing.payloads.destination.Destination`.

    It does not wait for the broker, whose refusals are logged.

    Args:
      topic: the topic.
      send: sends a message without waiting; it may raise BufferError if its queue is full.
      meter: counts the payloads.
      close: ends sending.
    """

    def __init__(self, topic: str, send: Send, meter: Meter, close: Callable[[], None] = lambda: None) -> None:
        self._topic = topic
        self._send = send
        self._meter = meter
        self._close = close

    def write(self, payloads: Sequence[Payload]) -> None:
        """Sends payloads; those for which the producer has no room are lost and counted."""
        sent = 0
        for one in payloads:
            try:
                self._send(message_of(self._topic, one))
                sent += 1
            except BufferError:
                self._meter.measure(PAYLOADS, 1, ("failed",))
        self._meter.measure(PAYLOADS, sent, ("sent",))

    def tick(self) -> None:
        """Does nothing: messages do not wait here."""

    def close(self) -> None:
        """Ends sending."""
        self._close()


def message_of(topic: str, payload: Payload) -> OutgoingMessage:
    """The event of a payload; its key consists of the coordinates of the record."""
    return OutgoingMessage(topic, payload.coordinates.encode(), _data(payload), _headers(payload))


def _headers(payload: Payload) -> Headers:
    """The attributes of the event. What is logged again after a crash is the same event."""
    identity = str(payload.offset) if payload.live else f"{payload.offset}-{_arm(payload.call)['arm']}"
    return with_id(_shared_headers(payload.topic, payload.partition, payload.call.start), identity)


@lru_cache(maxsize=8)
def _shared_headers(topic: str, partition: int, start: int) -> Headers:
    """The headers that the events of one call have in common; its records come one after the other."""
    time = datetime.fromtimestamp(start / 1e6, timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return attributes({"type": EVENT_TYPE, "source": f"/{topic}/{partition}", "time": time}, JSON_CONTENT)


def _data(payload: Payload) -> bytes:
    for most in (MOST_VALUES, 0):
        encoded = orjson.dumps({**_facts(payload), **_tensors(payload, most)}, option=orjson.OPT_SERIALIZE_NUMPY)
        if len(encoded) <= MOST_BYTES:
            return encoded
    return orjson.dumps({**_facts(payload), "inputs": None, "outputs": None})


def _facts(payload: Payload) -> dict[str, Any]:
    call, model = payload.call, payload.call.model
    named = {} if model is None else {"modelType": model.model_type, "digest": model.digest}
    return {
        "topic": payload.topic,
        "partition": payload.partition,
        "offset": payload.offset,
        "timestamp": payload.timestamp,
        "dataType": payload.data_type,
        "modelName": None if model is None else model.name,
        "modelVersion": None if model is None else model.version,
        "modelType": None,
        "digest": None,
        **named,
        **_arm(call),
        "signature": payload.inputs.signature,
        "start": call.start,
        "duration": call.duration,
        "batchSize": call.batch_size,
        "error": call.error,
        "errorKind": call.error_kind,
        "confidence": payload.confidence,
    }


def _arm(call: ModelCall) -> dict[str, str | None]:
    return {"arm": None, "role": "serve"} if call.route is None else {"arm": call.route.arm, "role": call.route.role}


def _tensors(payload: Payload, most: int) -> dict[str, Any]:
    outputs = payload.outputs
    return {
        "inputs": _as_json(payload.inputs.arrays, most),
        "outputs": None if outputs is None else _as_json(outputs, most),
    }


def _as_json(arrays: Mapping[str, Array], most: int) -> dict[str, Any]:
    return {name: _tensor(array, most) for name, array in arrays.items()}


def _tensor(array: Array, most: int) -> dict[str, Any]:
    values = None if array.size > most else _values(array.ravel())
    # Texts stay out of the cache: those of each width have a type of their own.
    kind = "string" if array.dtype.kind in "OSU" else _type_name(array.dtype)
    return {"type": kind, "shape": list(array.shape), "values": values}


@cache
def _type_name(dtype: np.dtype[Any]) -> str:
    """The name of a type of numbers; numpy takes 3 microseconds to find it."""
    return dtype.name


def _values(flat: Array) -> Array | list[Any]:
    """The values of a vector for orjson, which writes native arrays many times faster than a list of their items."""
    if flat.dtype.kind == "f":  # as float64, so that a number has the same digits as in a result
        return np.ascontiguousarray(flat, np.float64)
    if flat.dtype.kind in "iub":
        return np.ascontiguousarray(flat, flat.dtype.newbyteorder("="))
    return [json_value(one) for one in flat.tolist()]
