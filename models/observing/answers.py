"""What is measured of an answered batch."""

from __future__ import annotations

import numpy as np

from models.columns.scored import ModelCall, ScoredRecords
from models.observing.answered import AnsweredBatch
from models.observing.instruments import (
    BATCH_SIZE,
    CALL_SIZE,
    DEAD_LETTERS,
    END_TO_END,
    ERRORS,
    RECORDS,
    RESULTS,
    STAGE_DURATION,
)
from models.observing.observer import Labels, Meter

_NO_MODEL: Labels = ("", "")


def measure_answers(meter: Meter, answered: AnsweredBatch) -> None:
    """Measures a batch: its size, its stages, and the answers of each model.

    The size, the stages before and behind the models, and the time from Kafka to the result are those of live answers;
    of a shadow, only the calls and their results count.
    """
    for part in answered.scored:
        _measure_call(meter, answered, part)
    if not answered.live:
        return
    batch, times = answered.batch, answered.times
    topic = (batch.span.topic,)
    meter.measure(RECORDS, len(batch), topic)
    meter.measure(BATCH_SIZE, len(batch), topic)
    if batch.taken:
        meter.measure(STAGE_DURATION, (times.decode - batch.taken) / 1e9, ("queue", *_NO_MODEL))
    meter.measure(STAGE_DURATION, (times.score - times.decode) / 1e9, ("decode", *_NO_MODEL))
    meter.measure(STAGE_DURATION, (times.end - times.encode) / 1e9, ("encode", *_NO_MODEL))
    for part in answered.scored:
        sent = answered.batch.timestamps[answered.decoded.places[part.rows]]
        meter.measure_all(END_TO_END, times.end / 1e9 - sent / 1e3, model_labels(part.call))
    for kind, count in (("decode", len(answered.decoded.errors)), ("encode", len(answered.unencoded))):
        if count:
            meter.measure(DEAD_LETTERS, count, (*topic, kind))


def model_labels(call: ModelCall) -> Labels:
    """The name and version of the model of a call; empty texts if no model was called."""
    if call.model is None:
        return _NO_MODEL
    return call.model.name, "" if call.model.version is None else str(call.model.version)


def _measure_call(meter: Meter, answered: AnsweredBatch, part: ScoredRecords) -> None:
    call, count = part.call, len(part.rows)
    if answered.unencoded:  # instead of the results of these there are dead letters
        count -= int(np.isin(answered.decoded.places[part.rows], list(answered.unencoded)).sum())
    model = model_labels(call)
    arm = (call.route.arm, call.route.role) if call.route is not None else ("", "serve")
    labels = (part.data_type, *model, *arm)
    if part.outputs is not None:
        meter.measure(RESULTS, count, labels)
    else:
        meter.measure(ERRORS, count, (*labels, call.error_kind or "other"))
    if call.model is not None:
        meter.measure(CALL_SIZE, call.batch_size, model)
        meter.measure(STAGE_DURATION, call.duration / 1e6, ("score", *model))
