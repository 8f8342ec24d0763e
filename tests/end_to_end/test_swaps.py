"""200 swaps under load, with models whose output is their version."""

from __future__ import annotations

import statistics
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from tests.end_to_end.deployment import Deployment, describe
from tests.end_to_end.test_updates import X, record

SaveVersion = Callable[..., Path]
MODELS = ("swap-a", "swap-b", "swap-c", "swap-d")
VERSIONS = 51  # the first version is not a swap
SECONDS = 150.0


@dataclass
class Model:
    """A model, and what was observed of it."""

    published: int = 0
    published_at: float = 0.0
    seen: int = 0
    swap_seconds: list[float] = field(default_factory=list)
    offsets: dict[int, int] = field(default_factory=dict)


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_200_swaps_under_load_and_no_result_carries_another_version_than_the_one_that_computed_it(
    serving: Deployment, version_model: SaveVersion
) -> None:
    saved = [version_model(version) for version in range(1, VERSIONS + 1)]
    models = {name: Model() for name in MODELS}

    def publish(name: str) -> None:
        model = models[name]
        model.published += 1
        # In turns: in the stream, and by location.
        descriptor = describe(name, saved[model.published - 1], X, inline=model.published % 2 == 0)
        model.published_at = time.monotonic()
        model.offsets[model.published] = serving.write_model(replace(descriptor, model_version=model.published))

    sent: list[int] = []
    done = threading.Event()

    def send() -> None:
        # Each record carries the highest version that had been seen when it was made: none older may score it.
        while not done.wait(0.01):
            records = [record(name, user=models[name].seen) for name in MODELS for _ in range(2)]
            sent.extend(serving.send(records))

    thread = threading.Thread(target=send)
    thread.start()
    started = time.monotonic()
    try:
        for name in MODELS:
            publish(name)
        while any(model.seen < VERSIONS for model in models.values()):
            assert time.monotonic() - started < SECONDS, {name: model.seen for name, model in models.items()}
            for result in serving.more_results():
                swapped = models.get(result.record["dataType"])
                if swapped is None or result.version is None or result.version <= swapped.seen:
                    continue
                swapped.seen = result.version
                swapped.swap_seconds.append(time.monotonic() - swapped.published_at)
                if swapped.published < VERSIONS:
                    publish(result.record["dataType"])
    finally:
        done.set()
        thread.join()
    took = time.monotonic() - started

    results = serving.results_of(sent)
    versions: dict[str, list[int]] = defaultdict(list)
    for result in results:
        name = result.record["dataType"]
        if result.version is None:
            assert result.record["user"] == 0, "once a version was seen there is always one"
            continue
        assert result.error is None
        assert result.values("version") == [result.version]
        assert result.metadata["descriptorOffset"] == models[name].offsets[result.version]
        assert result.version >= result.record["user"], "a later record was scored by an older version"
        versions[name].append(result.version)
    for name, model in models.items():
        assert len(model.swap_seconds) == VERSIONS
        assert set(versions[name]) == set(range(1, VERSIONS + 1))
        # Not strictly: Prism may score two batches of a partition side by side.
        out_of_order = sum(later < earlier for earlier, later in zip(versions[name], versions[name][1:], strict=False))
        print(
            f"\n{name}: {out_of_order} of {len(versions[name])} records scored by an older version than the one before"
        )
    seconds = [one for model in models.values() for one in model.swap_seconds[1:]]
    print(
        f"{len(seconds)} swaps in {took:.0f} s, {len(results) / took:.0f} records/s; publishing to first result: "
        f"median {statistics.median(seconds):.3f} s, worst {max(seconds):.3f} s"
    )
