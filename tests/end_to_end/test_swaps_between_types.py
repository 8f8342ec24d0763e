"""A swap from each model type to every other, under load, in one run of a pipeline."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest

from models.artifacts.digest import digest_of_path
from models.model_topic.descriptor import ModelDescriptor
from models.scorers import SCORER_MODULES, runs_in_process
from tests.distributions import distributions
from tests.end_to_end.conftest import Deploy
from tests.end_to_end.constant_models import CONSTANT_MODELS, install_function
from tests.end_to_end.test_updates import record
from tests.models.scorers.heavy_types import HEAVY_TYPES

SEED = 11
SECONDS = 150.0
TYPES = tuple(sorted(CONSTANT_MODELS))


def round_trip(names: Sequence[str], seed: int) -> list[str]:
    """A walk from name to name that takes each ordered pair exactly once (Hierholzer's algorithm)."""
    shuffled = random.Random(seed)
    left = {name: shuffled.sample([other for other in names if other != name], len(names) - 1) for name in names}
    waiting, walk = [names[0]], []
    while waiting:
        if left[waiting[-1]]:
            waiting.append(left[waiting[-1]].pop())
        else:
            walk.append(waiting.pop())
    return walk[::-1]


def test_the_walk_takes_each_pair_once_and_no_type_is_left_out() -> None:
    walk = round_trip(TYPES, SEED)
    pairs = list(pairwise(walk))
    assert len(pairs) == len(set(pairs)) == len(TYPES) * (len(TYPES) - 1)
    assert set(TYPES) == {name for name in SCORER_MODULES.keys() - HEAVY_TYPES if runs_in_process(name)}


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_swap_from_each_type_to_each_other_loses_no_record_and_tells_no_lie(
    deploy: Deploy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages = tmp_path / "packages"
    packages.mkdir()
    with distributions(packages, monkeypatch) as install:
        install_function(install)
        monkeypatch.setenv("PYTHONPATH", str(packages))  # of the pipeline's process
        swap_between_all(deploy, tmp_path)


def swap_between_all(deploy: Deploy, folder: Path) -> None:
    serving = deploy(options={"engines": ",".join(TYPES)})
    walk = round_trip(TYPES, SEED)
    saved = {}
    for number, name in enumerate(TYPES, start=1):
        (folder / name).mkdir()
        saved[name] = CONSTANT_MODELS[name].save(folder / name, number)
    serving.start()

    def publish(version: int) -> None:
        kind = walk[version - 1]
        model, path = CONSTANT_MODELS[kind], saved[kind]
        serving.write_model(
            ModelDescriptor(
                "mixed",
                kind,
                version,
                model_source_location=str(path),
                inputs={model.takes: ("user",)},
                outputs={"answer": model.gives},
                digest=digest_of_path(path),
            )
        )

    sent: list[int] = []
    done = threading.Event()
    seen = 0

    def send() -> None:
        while not done.wait(0.01):
            # Each record carries the highest version that had been seen when it was made: none older may score it.
            sent.extend(serving.send([record("mixed", user=seen) for _ in range(5)]))

    thread = threading.Thread(target=send)
    thread.start()
    started = time.monotonic()
    try:
        publish(1)
        while seen < len(walk):
            assert time.monotonic() - started < SECONDS, f"{seen} of {len(walk)} versions were seen"
            for result in serving.more_results():
                if result.version is not None and result.version > seen:
                    seen = result.version
                    if seen < len(walk):
                        publish(seen + 1)
    finally:
        done.set()
        thread.join()

    results = serving.results_of(sent)
    versions = set()
    for result in results:
        if result.version is None:
            assert result.record["user"] == 0, "once a version was seen there is always one"
            continue
        assert result.error is None
        kind = walk[result.version - 1]
        assert [round(float(value), 3) for value in result.values("answer")] == [TYPES.index(kind) + 1]
        assert result.metadata["modelType"] == kind
        assert result.metadata["modelSourceLocation"] == str(saved[kind])
        assert result.version >= result.record["user"], "a later record was scored by an older version"
        versions.add(result.version)
    assert versions == set(range(1, len(walk) + 1))
    print(f"\n{len(walk) - 1} swaps between types, {len(results)} records in {time.monotonic() - started:.0f} s")
