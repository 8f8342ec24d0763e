"""A swap from each model type to every other, under load, in one run of a pipeline."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from models.artifacts.digest import digest_of_path
from models.model_topic.descriptor import ModelDescriptor
from models.scorers import model_types
from tests.distributions import distributions
from tests.end_to_end.conftest import Deploy
from tests.end_to_end.constant_models import CONSTANT_MODELS, install_code
from tests.end_to_end.constant_servers import SERVED_CONSTANTS, constant_servers
from tests.end_to_end.deployment import Deployment, Result
from tests.end_to_end.test_updates import record
from tests.models.scorers.heavy_types import HEAVY_TYPES

SEED = 11
# A busy machine makes every swap slow, but only a fault makes one of them take this long.
SECONDS_FOR_A_SWAP = 60.0
# The pipeline imports all engines before its first answer.
START_SECONDS = 600.0
TYPES = tuple(sorted({*CONSTANT_MODELS, *SERVED_CONSTANTS}))

Describe = Callable[[int], ModelDescriptor]


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


WALK = round_trip(TYPES, SEED)


def answer_of(kind: str) -> int:
    """The number that models of this type answer."""
    return TYPES.index(kind) + 1


def test_the_walk_takes_each_pair_once_and_no_type_is_left_out() -> None:
    pairs = list(pairwise(WALK))
    assert len(pairs) == len(set(pairs)) == len(TYPES) * (len(TYPES) - 1)
    assert set(TYPES) == set(model_types()) - HEAVY_TYPES


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_swap_from_each_type_to_each_other_loses_no_record_and_tells_no_lie(
    deploy: Deploy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages = tmp_path / "packages"
    packages.mkdir()
    with distributions(packages, monkeypatch) as install:
        install_code(install)
        monkeypatch.setenv("PYTHONPATH", str(packages))  # of the pipeline's process
        serving = deploy(options={"engines": ",".join(TYPES)})
        with versions_described(tmp_path) as describe:
            serving.start()
            swap_between_all(serving, describe)


@contextmanager
def versions_described(folder: Path) -> Iterator[Describe]:
    """Saves the models and runs the servers; returns the descriptor of each version along the walk."""
    saved = {}
    for kind, model in CONSTANT_MODELS.items():
        (folder / kind).mkdir()
        saved[kind] = model.save(folder / kind, answer_of(kind))
    steps = {kind: [version for version, step in enumerate(WALK, 1) if step == kind] for kind in SERVED_CONSTANTS}
    servers = folder / "servers"
    servers.mkdir()
    with constant_servers(servers, {kind: (answer_of(kind), steps[kind]) for kind in steps}) as location_of:

        def describe(version: int) -> ModelDescriptor:
            kind = WALK[version - 1]
            model = CONSTANT_MODELS.get(kind) or SERVED_CONSTANTS[kind]
            return ModelDescriptor(
                "mixed",
                kind,
                version,
                model_source_location=str(saved[kind]) if kind in saved else location_of(kind, version),
                inputs={model.takes: ("user",)},
                outputs={"answer": model.gives},
                options=CONSTANT_MODELS[kind].options if kind in saved else {},
                digest=digest_of_path(saved[kind]) if kind in saved else None,
            )

        yield describe


def swap_between_all(serving: Deployment, describe: Describe) -> None:
    sent: list[int] = []
    done = threading.Event()
    seen = 0

    def send() -> None:
        while not done.wait(0.01):
            # Each record carries the highest version that had been seen when it was made: none older may score it.
            sent.extend(serving.send([record("mixed", user=seen) for _ in range(5)]))

    thread = threading.Thread(target=send)
    thread.start()
    started = seen_at = time.monotonic()
    try:
        serving.write_model(describe(1))
        while seen < len(WALK):
            limit = SECONDS_FOR_A_SWAP if seen else START_SECONDS
            assert time.monotonic() - seen_at < limit, f"{seen} of {len(WALK)} versions were seen"
            for result in serving.more_results(0.02):
                if result.version is not None and result.version > seen:
                    seen, seen_at = result.version, time.monotonic()
                    if seen < len(WALK):
                        serving.write_model(describe(seen + 1))
    finally:
        done.set()
        thread.join()

    results = serving.results_of(sent)
    assert versions_of(results, describe) == set(range(1, len(WALK) + 1))
    print(f"\n{len(WALK) - 1} swaps between types, {len(results)} records in {time.monotonic() - started:.0f} s")


def versions_of(results: Sequence[Result], describe: Describe) -> set[int]:
    """The versions that scored; fails if a result contradicts its version or its record."""
    versions = set()
    described = {version: describe(version) for version in range(1, len(WALK) + 1)}
    for result in results:
        if result.version is None:
            assert result.record["user"] == 0, "once a version was seen there is always one"
            continue
        assert result.error is None
        kind = WALK[result.version - 1]
        assert [round(float(value), 3) for value in result.values("answer")] == [answer_of(kind)]
        assert result.metadata["modelType"] == kind
        assert result.metadata["modelSourceLocation"] == described[result.version].model_source_location
        assert result.version >= result.record["user"], "a later record was scored by an older version"
        versions.add(result.version)
    return versions
