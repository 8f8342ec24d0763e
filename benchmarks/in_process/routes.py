"""The cost of routes: live models, shadows and the split, in this process, without an engine around them.

The figures are the processor time of the whole process, including the threads of TensorFlow and of shadows.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.recommender.loading import load_model
from benchmarks.recommender.model import records
from models.loading.loader import LoadedModel
from models.model_topic.published import PublishedVersion
from models.records.batch import OffsetSpan, RecordBatch
from models.records.record_type import RecordType
from models.routing.plan import Plan, PlannedArm, PlannedGeneration, PlannedSegment, implicit_plan
from models.serving.assembly import ScoringSettings, score_batch
from models.serving.registry import ModelRegistry
from models.serving.shadows import ShadowScorer

_BATCH = 2_000
_SETTINGS = ScoringSettings(
    {"records": RecordType.named("recommender")}, "results", "dead-letters", shadow_topic="shadows"
)


def measure_routes(folder: Path, count: int) -> list[str]:
    """Lines: microseconds of processor time per record with 1 to 100 live models, splits, and 1 to 8 shadows."""
    model = load_model(str(folder))
    lines = ["microseconds of processor time per record: decode, score, encode"]
    base = 0.0
    for live in (1, 10, 100):
        cost = _cost(model, live, [PlannedArm(())], count)
        base = base or cost
        lines.append(f"  {live:3} live models{cost:12.2f}   {cost / base:.2f} x")
    for arms in (2, 4):
        cost = _cost(model, 1, [PlannedArm((), f"arm-{one}") for one in range(arms)], count)
        lines.append(f"  split on {arms} arms{cost:11.2f}   {cost / base:.2f} x")
    for shadows in (1, 2, 4, 8):
        arms_of = [PlannedArm((), f"shadow-{one}", "shadow") for one in range(shadows)]
        cost = _cost(model, 1, [PlannedArm((), "live"), *arms_of], count)
        alone = (shadows + 1) * base
        lines.append(f"  {shadows} shadows{cost:17.2f}   {cost / alone:.2f} x as many pipelines of their own")
    return lines


def _cost(model: LoadedModel, live: int, arms: Sequence[PlannedArm], count: int) -> float:
    registry = ModelRegistry("benchmark")
    plans: dict[str, Plan] = {
        f"other-{number}": implicit_plan((_version(model, f"other-{number}", number),)) for number in range(1, live)
    }
    versions = [_version(model, f"arm-{place}", 1_000 + place) for place in range(len(arms))]
    planned = tuple(replace(arm, versions=(one,)) for arm, one in zip(arms, versions, strict=True))
    plans["recommender"] = (PlannedGeneration((PlannedSegment(planned),), offset=1),)
    registry.update(plans)
    for plan in plans.values():
        for version in plan[0].versions():
            registry.loaded(version, LoadedModel(version, _Shared(model), {}))
    sent: list[int] = []
    shadows = ShadowScorer(registry, _SETTINGS, lambda message: sent.append(1), limit=10 * count)
    shadowed = sum(arm.role == "shadow" for arm in arms) * count
    batches = [_batch(start) for start in range(0, count, _BATCH)]
    _score(registry, shadows, batches[:2], lambda: True)  # compiles what is compiled at first use
    sent.clear()
    start = time.process_time()
    _score(registry, shadows, batches, lambda: len(sent) >= shadowed)
    used = time.process_time() - start
    shadows.close()
    return used * 1e6 / count


def _score(
    registry: ModelRegistry, shadows: ShadowScorer, batches: Sequence[RecordBatch], done: Callable[[], bool]
) -> None:
    for batch in batches:
        score_batch(batch, registry, _SETTINGS, shadows)
    while not done():
        time.sleep(0.001)


class _Shared:
    """A scorer that several versions of a model share: closing one version does not close it."""

    def __init__(self, model: LoadedModel) -> None:
        self._scorer = model.scorer
        self.signature = model.scorer.signature
        self.digest = model.scorer.digest
        self.address = model.scorer.address
        self.batch_deadline = model.scorer.batch_deadline
        self.score = model.scorer.score

    def close(self) -> None:
        """Closes nothing."""


def _version(model: LoadedModel, name: str, offset: int) -> PublishedVersion:
    return PublishedVersion(replace(model.version.descriptor, model_name=name), offset, model.version.inline)


def _batch(start: int) -> RecordBatch:
    values = records(_BATCH, seed=start)
    offsets = range(start, start + _BATCH)
    keys = [str(offset).encode() for offset in offsets]
    span = OffsetSpan("records", "id", 0, 0, start, start + _BATCH)
    return RecordBatch.of(span, list(offsets), [0] * _BATCH, keys, values)
