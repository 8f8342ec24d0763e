"""What is kept of results: figures for the charts, and the coordinates of the last ones."""

from __future__ import annotations

import logging
import random
import threading
from collections import Counter, deque
from collections.abc import Collection, Sequence
from types import NoneType
from typing import Any

from confluent_kafka import Message

from beam_pipeline.dashboard.distributions import Distributions, are_probabilities
from beam_pipeline.dashboard.history import Answer, History
from beam_pipeline.dashboard.message_reader import MessageReader
from beam_pipeline.dashboard.results_follower import READ_A_TICK, Skipped
from beam_pipeline.dashboard.settings import Reading
from models.errors import KafkaUnreachableError
from models.results.decoder import decode_any
from models.results.json_values import json_value
from models.text import clean_text

_LOGGER = logging.getLogger(__name__)

MOST_RECENT = 40
# The records of the results of one batch are beside each other; a few of them show how long records take.
_LATENCIES = 50
_LATENCY_SECONDS = 0.5
_SHOWN_VALUES = 4
_SHOWN_TEXT = 120


class Results:
    """Takes results, and keeps what the page shows of them.

    Args:
      reading: how results are decoded.
      records: reads records, whose time tells how long their results took.
      topics: the records topics; others are not read, whatever a result names.
      history: takes the figures.
      distributions: takes the predictions.
    """

    def __init__(
        self,
        reading: Reading,
        records: MessageReader,
        topics: Collection[str],
        history: History,
        distributions: Distributions,
    ) -> None:
        self._reading = reading
        self._topics = topics
        self._records = records
        self._history = history
        self._distributions = distributions
        self._lock = threading.Lock()
        self._recent: deque[dict[str, Any]] = deque(maxlen=MOST_RECENT)
        self.malformed = 0

    def take(self, messages: Sequence[Message], skipped: Sequence[Skipped]) -> None:
        """Counts all of them, and decodes a sample."""
        for gap in skipped:
            self._history.count_between(gap.begin, gap.end, gap.number)
        for message in messages:
            self._history.count(message.timestamp()[1])
        step = max(1, -(-len(messages) // READ_A_TICK))
        decoded = [(one, result) for one in messages[::step] if (result := self._decoded(one)) is not None]
        weights = _weights([message.partition() for message, _ in decoded], messages, skipped)
        for message, result in decoded:
            self._take_one(message, result, weights[message.partition()])
        known = [(one, result) for one, result in decoded if result["modelResultMetadata"]["topic"] in self._topics]
        if known:
            self._take_latencies(known)

    def recent(self) -> list[dict[str, Any]]:
        """The last decoded results, the newest first: their coordinates and one line of content."""
        with self._lock:
            return list(reversed(self._recent))

    def _decoded(self, message: Message) -> dict[str, Any] | None:
        try:
            result = decode_any(self._reading.results, message.value() or b"")
            check_result(result)
        except ValueError:
            self.malformed += 1
            return None
        return result

    def _take_one(self, message: Message, result: dict[str, Any], weight: float) -> None:
        metadata, at = result["modelResultMetadata"], message.timestamp()[1]
        failed = metadata["errors"] is not None
        answer = Answer(at, metadata["modelName"], metadata["modelVersion"], failed, metadata["duration"] / 1000)
        version = self._history.see(answer, weight)
        if not failed:
            self._distributions.add(version.number, result["outputs"])
        line = {
            "partition": message.partition(),
            "offset": message.offset(),
            "at": at,
            "key": None if message.key() is None else clean_text(message.key().decode("utf-8", "replace"), 40),
            "record": clean_text(f"{metadata['topic']}-{metadata['partition']}@{metadata['offset']}", _SHOWN_TEXT),
            "version": version.number,
            "label": version.label,
            "failed": failed,
            "text": clean_text(metadata["errors"] if failed else outputs_line(result["outputs"]), _SHOWN_TEXT),
        }
        with self._lock:
            self._recent.append(line)

    def _take_latencies(self, decoded: Sequence[tuple[Message, dict[str, Any]]]) -> None:
        """Reads the records of a few results of one partition: the time of each is not part of its result."""
        _, picked = random.choice(decoded)
        place = picked["modelResultMetadata"]["topic"], picked["modelResultMetadata"]["partition"]
        times: dict[int, int] = {}
        for message, result in decoded:
            metadata = result["modelResultMetadata"]
            if (metadata["topic"], metadata["partition"]) == place:
                times[metadata["offset"]] = message.timestamp()[1]
        first = max(max(times) - _LATENCIES + 1, min(times), 0)
        try:
            found = self._records.read(*place, first, max(times) - first + 1, _LATENCY_SECONDS)
        except KafkaUnreachableError as error:
            _LOGGER.debug("no latencies: %s", error)
            return
        for record in found:
            answered = times.get(record.offset())
            if answered is not None:
                # Clocks of different machines may differ by more than a record takes.
                self._history.see_latency(answered, max(0.0, answered - record.timestamp()[1]))


def _weights(sampled: Sequence[int], messages: Sequence[Message], skipped: Sequence[Skipped]) -> dict[int, float]:
    """For how many results a sampled one of each partition stands: partitions may differ in rate and in versions."""
    arrived = Counter(message.partition() for message in messages)
    for gap in skipped:
        arrived[gap.partition] += gap.number
    return {partition: arrived[partition] / number for partition, number in Counter(sampled).items()}


_FIELDS = {
    "topic": (str,),
    "partition": (int,),
    "offset": (int,),
    "duration": (int,),
    "modelName": (str, NoneType),
    "modelVersion": (int, NoneType),
    "errors": (str, NoneType),
}

_LARGEST = 1 << 63


def check_result(result: Any) -> None:
    """Raises ValueError unless a decoded message is a result: one in JSON may be any value."""
    try:
        metadata, outputs = result["modelResultMetadata"], result["outputs"]
        fit = all(type(metadata[name]) in kinds for name, kinds in _FIELDS.items())
        fit = fit and all(abs(metadata[name]) < _LARGEST for name in ("partition", "offset", "duration"))
        fit = fit and all(
            type(tensor["values"]) is list and type(tensor["shape"]) is list for tensor in outputs.values()
        )
    except (TypeError, KeyError, AttributeError, IndexError) as error:
        raise ValueError(f"not a result: {error}") from error
    if not fit:
        raise ValueError("not a result: a field has another type")


def outputs_line(outputs: dict[str, Any]) -> str:
    """The outputs of a result on one line: the most probable class of probabilities, or the first values.

    >>> outputs_line({"score": {"shape": [], "values": [0.25]}})
    'score 0.25'
    >>> outputs_line({"classes": {"shape": [3], "values": [0.1, 0.7, 0.2]}})
    'classes 1 (70 %)'
    """
    return "  ".join(f"{name} {_values(tensor['values'])}" for name, tensor in outputs.items())


def _values(values: Sequence[Any]) -> str:
    if are_probabilities(values):
        best = max(range(len(values)), key=values.__getitem__)
        return f"{best} ({values[best]:.0%})".replace("%", " %")
    shown = " ".join(_value(json_value(one)) for one in values[:_SHOWN_VALUES])
    return shown + (" …" if len(values) > _SHOWN_VALUES else "")


def _value(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
