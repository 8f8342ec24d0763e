"""Versions of different model types that follow each other in a running pipeline, under load.

Every model answers a number of its own, so that each result shows which type gave it.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest

from models.artifacts.digest import digest_of_path
from models.model_topic.descriptor import ModelDescriptor
from tests.distributions import distributions
from tests.end_to_end.conftest import Deploy
from tests.end_to_end.constant_models import ConstantModel, install_code
from tests.end_to_end.constant_servers import SERVED_CONSTANTS, constant_servers
from tests.end_to_end.deployment import Deployment, Result
from tests.end_to_end.test_updates import record

# A busy machine makes every swap slow, but only a fault makes one of them take this long.
SECONDS_FOR_A_SWAP = 60.0
# The pipeline imports all engines before its first answer.
START_SECONDS = 600.0

Describe = Callable[[int], ModelDescriptor]


@dataclass(frozen=True)
class Walk:
    """The versions of one model.

    Attributes:
      kinds: the type of each version, beginning with version 1.
      models: how models of the types that run in the process are saved; the other types are those of servers.
    """

    kinds: Sequence[str]
    models: Mapping[str, ConstantModel]

    @cached_property
    def types(self) -> tuple[str, ...]:
        """The types that occur."""
        return tuple(sorted(set(self.kinds)))

    def answer_of(self, kind: str) -> int:
        """The number that models of this type answer."""
        return self.types.index(kind) + 1

    @contextmanager
    def described(self, folder: Path) -> Iterator[Describe]:
        """Saves the models and runs the servers; yields what returns the descriptor of each version."""
        saved = {}
        for kind in self.models.keys() & set(self.types):
            (folder / kind).mkdir()
            saved[kind] = self.models[kind].save(folder / kind, self.answer_of(kind))
        served = [kind for kind in self.types if kind not in self.models]
        steps = {kind: [version for version, step in enumerate(self.kinds, 1) if step == kind] for kind in served}
        servers = folder / "servers"
        servers.mkdir()
        with constant_servers(servers, {kind: (self.answer_of(kind), steps[kind]) for kind in steps}) as location_of:

            def describe(version: int) -> ModelDescriptor:
                kind = self.kinds[version - 1]
                model = self.models.get(kind) or SERVED_CONSTANTS[kind]
                return ModelDescriptor(
                    "mixed",
                    kind,
                    version,
                    model_source_location=str(saved[kind]) if kind in saved else location_of(kind, version),
                    inputs={model.takes: ("user",)},
                    outputs={"answer": model.gives},
                    options=self.models[kind].options if kind in saved else {},
                    digest=digest_of_path(saved[kind]) if kind in saved else None,
                )

            yield describe

    def play(self, deploy: Deploy, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Runs a pipeline, with the code that some models call installed, and swaps the versions in it."""
        packages = folder / "packages"
        packages.mkdir()
        with distributions(packages, monkeypatch) as install:
            install_code(install)
            monkeypatch.setenv("PYTHONPATH", str(packages), prepend=os.pathsep)  # of the pipeline's process
            serving = deploy(options={"engines": ",".join(self.types)})
            with self.described(folder) as describe:
                serving.start()
                self.swap(serving, describe)

    def swap(self, serving: Deployment, describe: Describe) -> None:
        """Publishes each version once the one before it has scored, and checks the results of all records."""
        sent: list[int] = []
        done = threading.Event()
        seen, last = 0, len(self.kinds)

        def send() -> None:
            while not done.wait(0.01):
                # Each record carries the highest version that had been seen when it was made: none older may score it.
                sent.extend(serving.send([record("mixed", user=seen) for _ in range(5)]))

        thread = threading.Thread(target=send)
        thread.start()
        started = seen_at = time.monotonic()
        try:
            serving.write_model(describe(1))
            while seen < last:
                limit = SECONDS_FOR_A_SWAP if seen else START_SECONDS
                assert time.monotonic() - seen_at < limit, f"{seen} of {last} versions were seen"
                for result in serving.more_results(0.02):
                    if result.version is not None and result.version > seen:
                        seen, seen_at = result.version, time.monotonic()
                        if seen < last:
                            serving.write_model(describe(seen + 1))
        finally:
            done.set()
            thread.join()

        results = serving.results_of(sent)
        assert self._versions_of(results, describe) == set(range(1, last + 1))
        print(f"\n{last - 1} swaps between types, {len(results)} records in {time.monotonic() - started:.0f} s")

    def _versions_of(self, results: Sequence[Result], describe: Describe) -> set[int]:
        """The versions that scored; fails if a result contradicts its version or its record."""
        versions = set()
        described = {version: describe(version) for version in range(1, len(self.kinds) + 1)}
        for result in results:
            if result.version is None:
                assert result.record["user"] == 0, "once a version was seen there is always one"
                continue
            assert result.error is None
            kind = self.kinds[result.version - 1]
            assert [round(float(value), 3) for value in result.values("answer")] == [self.answer_of(kind)]
            assert result.metadata["modelType"] == kind
            assert result.metadata["modelSourceLocation"] == described[result.version].model_source_location
            assert result.version >= result.record["user"], "a later record was scored by an older version"
            versions.add(result.version)
        return versions
