"""Explains the answers to a share of the records, beside the scoring.

Explaining a record takes from milliseconds (gradients) to a second (permutations), so it happens on a thread of its
own, at a low priority, from a bounded queue. Records that would exceed the queue are skipped and counted. Explanations
are sent without waiting for the broker, and are therefore best effort.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from models.artifacts.background import yield_to_others
from models.columns.scored import ModelIdentity, ScoredRecords
from models.errors import MissingExtraError, ServingError
from models.explaining.attribution import Explanation, RecordCoordinates
from models.explaining.explainer import Explainer
from models.explaining.permutation import explainer_class
from models.explaining.recent_records import RecentRecords
from models.explaining.settings import ExplanationSettings
from models.observing.answered import AnsweredBatch
from models.observing.answers import model_labels
from models.observing.instruments import EXPLANATION_DURATION, EXPLANATIONS
from models.observing.observer import Meter
from models.observing.sampling import Sampling
from models.records.codecs.base import RecordCodec
from models.records.outgoing import OutgoingMessage
from models.serving.registry import ModelRegistry

_LOGGER = logging.getLogger(__name__)

QUEUE_BATCHES = 32
"""The maximum number of batches with sampled records that wait."""

_CLOSE_SECONDS = 3.0
# So many records of a batch become background records besides those that are explained.
_FROM_A_BATCH = 8

Send = Callable[[OutgoingMessage], None]


@dataclass(frozen=True)
class _Work:
    """The records of one model in a batch; `chosen` are the places of the sampled ones in `part.rows`."""

    answered: AnsweredBatch
    part: ScoredRecords
    model: ModelIdentity
    chosen: npt.NDArray[np.int64]


class ExplanationListener:
    """Explains a share of the answers on a thread of its own (`models.observing.observation.AnswerListener`).

    Answers of graphs and of shadows are not explained, and neither are those of a model that is no longer loaded when
    their turn comes.

    Args:
      settings: what is explained, and where explanations go.
      registry: keeps the models open while they are used here.
      codec: returns the codec of a topic's records.
      explainer: explains the answers; closed with the listener.
      send: sends a message without waiting; it may raise BufferError if its queue is full.
      meter: counts the outcomes.
      limit: the maximum number of batches that wait.
    """

    def __init__(
        self,
        settings: ExplanationSettings,
        registry: ModelRegistry,
        codec: Callable[[str], RecordCodec],
        explainer: Explainer,
        send: Send,
        meter: Meter,
        limit: int = QUEUE_BATCHES,
    ) -> None:
        self._topic = settings.topic
        self._sampling = Sampling(settings.share)
        self._registry = registry
        self._codec = codec
        self._explainer = explainer
        self._send = send
        self._meter = meter
        self._waiting: queue.Queue[_Work | None] = queue.Queue(limit)
        self._recent = RecentRecords()
        self._reported: set[tuple[str, type[Exception]]] = set()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="explanations", daemon=True)

    def start(self) -> None:
        """Imports what permutations need, and starts the thread."""
        try:
            explainer_class()
        except MissingExtraError as error:
            _LOGGER.warning("only SavedModels with gradients are explained: %s", error)
        self._thread.start()

    def answered(self, answered: AnsweredBatch) -> None:
        """Takes note of the sampled records of a batch, or skips them if too many wait; returns at once."""
        if not answered.live or self._closed.is_set():
            return
        span, offsets = answered.batch.span, answered.batch.offsets
        for part in answered.scored:
            model = part.call.model
            if model is None or part.outputs is None or part.call.steps:
                continue
            sampled = self._sampling.chosen(span.topic, span.partition, offsets[answered.decoded.places[part.rows]])
            chosen = np.flatnonzero(sampled)
            if len(chosen):
                try:
                    self._waiting.put_nowait(_Work(answered, part, model, chosen))
                except queue.Full:
                    self._count(model, "skipped", len(chosen))

    def close(self) -> None:
        """Ends the thread after the record that it explains now, and waits for that up to three seconds."""
        self._closed.set()
        with suppress(queue.Full):  # in which case the thread finds the end before its next record
            self._waiting.put_nowait(None)
        if self._thread.is_alive():
            self._thread.join(_CLOSE_SECONDS)

    def _run(self) -> None:
        yield_to_others()
        while (work := self._waiting.get()) is not None and not self._closed.is_set():
            columns = work.answered.decoded.columns
            for place in work.chosen.tolist():
                if self._closed.is_set():
                    break
                self._explain(work, place, columns.take(pa.array(work.part.rows[place : place + 1])))
            self._keep_some(work, columns)
        self._explainer.close()

    def _explain(self, work: _Work, place: int, record: pa.RecordBatch) -> None:
        """Explains one record, and keeps it as a background record of others; never raises."""
        where, key, began = _where(work, place), _key(work), time.monotonic()
        try:
            outcome = self._explained(work, where, record, began)
        except Exception as error:
            outcome = "failed"
            self._report(work.model, error)
        self._recent.add(key, where, record)
        if outcome == "explained":
            self._meter.measure(EXPLANATION_DURATION, time.monotonic() - began, model_labels(work.part.call))
        self._count(work.model, outcome, 1)

    def _explained(self, work: _Work, where: RecordCoordinates, record: pa.RecordBatch, began: float) -> str:
        pooled = self._registry.hold_loaded(work.model.descriptor_offset)
        if pooled is None or pooled.model is None:
            return "skipped"
        try:
            background = self._recent.others(_key(work), where)
            codec = self._codec(where.topic)
            attributions = self._explainer.explain(pooled.model, codec, record, background)
        finally:
            self._registry.give_back([pooled])
        duration = round((time.monotonic() - began) * 1e6)
        explanation = Explanation(where, work.part.data_type, work.model, attributions, duration)
        try:
            self._send(OutgoingMessage(self._topic, explanation.key, explanation.to_json()))
        except BufferError:
            return "skipped"
        return "explained"

    def _keep_some(self, work: _Work, columns: pa.RecordBatch) -> None:
        """Keeps some other records of the batch as background records, evenly spread over it."""
        others = np.setdiff1d(np.arange(len(work.part.rows)), work.chosen)
        for place in others[:: max(1, len(others) // _FROM_A_BATCH)][:_FROM_A_BATCH].tolist():
            record = columns.take(pa.array(work.part.rows[place : place + 1]))
            self._recent.add(_key(work), _where(work, place), record)

    def _count(self, model: ModelIdentity, outcome: str, records: int) -> None:
        version = "" if model.version is None else str(model.version)
        self._meter.measure(EXPLANATIONS, records, (model.name, version, outcome))

    def _report(self, model: ModelIdentity, error: Exception) -> None:
        """Logs the first failure of each kind and model."""
        kind = model.name, type(error)
        if kind in self._reported:
            return
        self._reported.add(kind)
        if isinstance(error, ServingError):
            _LOGGER.warning("answers of model %s/%s are not explained: %s", model.name, model.version, error)
        else:
            _LOGGER.exception("answers of model %s/%s are not explained", model.name, model.version, exc_info=error)


def _where(work: _Work, place: int) -> RecordCoordinates:
    batch = work.answered.batch
    offset = batch.offsets[work.answered.decoded.places[work.part.rows[place]]]
    return RecordCoordinates(batch.span.topic, batch.span.partition, int(offset))


def _key(work: _Work) -> tuple[str, str, str]:
    return work.answered.batch.span.topic, work.part.data_type, work.model.name
