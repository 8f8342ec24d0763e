"""The cost of observing a batch, in this process, without an engine around it.

Each turn scores the same batches with nobody observing and with the sums kept, as every deployment keeps them. The
figures are the processor time of the whole process, including the threads of TensorFlow.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from benchmarks.recommender.loading import load_model
from benchmarks.recommender.model import records
from benchmarks.turns import Compared, in_turns
from models.observing.observation import Observation
from models.observing.observer import NO_OBSERVER, Observer
from models.observing.totals import Totals
from models.records.batch import OffsetSpan, RecordBatch
from models.records.record_type import RecordType
from models.routing.plan import implicit_plan
from models.serving.assembly import ScoringSettings, score_batch
from models.serving.registry import ModelRegistry

_UNOBSERVED, _OBSERVED = "unobserved", "observed"
# A full batch, and one of a stream of 500 records a second.
_SIZES = (2_000, 10)
_CALLS = {2_000: 100, 10: 2_000}
_SETTINGS = ScoringSettings({"records": RecordType.named("recommender")}, "results", "dead-letters")


def measure_observing(folder: Path, turns: int) -> list[str]:
    """Lines: microseconds of processor time per batch without and with the sums, for large and small batches."""
    model = load_model(str(folder))
    version = model.version
    lines = []
    for size in _SIZES:
        observers: Mapping[str, Observer] = {_UNOBSERVED: NO_OBSERVER, _OBSERVED: Observation(Totals())}
        registries = {name: ModelRegistry("benchmark", observer=one) for name, one in observers.items()}
        for registry in registries.values():
            registry.update({"recommender": implicit_plan((version,))})
            registry.loaded(version, model)
        batch = _batch(size)

        measure = partial(_measure, batch, observers, registries)
        for name in observers:
            measure(name)  # compiles what is compiled at first use
        figures = in_turns(list(observers), turns, measure)
        flat = {name: [one[0] for one in values] for name, values in figures.items()}
        lines += Compared(f"a batch of {size} records", "microseconds", flat).table()
    return lines


def _measure(
    batch: RecordBatch, observers: Mapping[str, Observer], registries: Mapping[str, ModelRegistry], name: str
) -> list[float]:
    calls = _CALLS[len(batch)]
    start = time.process_time()
    for _ in range(calls):
        score_batch(batch, registries[name], _SETTINGS, observer=observers[name])
    return [(time.process_time() - start) * 1e6 / calls]


def _batch(size: int) -> RecordBatch:
    values = records(size)
    now = time.time_ns()
    batch = RecordBatch.of(
        OffsetSpan("records", "id", 0, 0, 0, size), range(size), [now // 1_000_000] * size, [None] * size, values
    )
    return replace(batch, taken=now)
