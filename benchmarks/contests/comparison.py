"""Rows per second of every type that runs in the worker's process, beside the same model in its own framework.

Our side does the work of a worker on decoded records: the mapping fills the model's inputs from the columns, the model
is called, and its outputs are selected. The framework gets a ready-made array. Both run in this process, in turns.
Other work on the machine disturbs ratios by the clock more than ratios by processor time.
"""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.contests.contest import Contest, check_same_answers, load_contest, scoring_of
from models.errors import ServingError

BATCHES = (1, 64, 2_000)

Prepare = Callable[[Path], Contest]


@dataclass(frozen=True)
class Pace:
    """Rows per second, by the clock and by the processor time of this process."""

    by_clock: float
    by_processor: float


@dataclass(frozen=True)
class Speed:
    """Our speed and the framework's in each turn."""

    ours: tuple[Pace, ...]
    bare: tuple[Pace, ...]

    def text(self, batch: int) -> str:
        """The medians by the clock, and the ratio of ours to theirs by the clock and by processor time."""
        pairs = list(zip(self.ours, self.bare, strict=True))
        clock = [ours.by_clock / bare.by_clock for ours, bare in pairs]
        processor = [ours.by_processor / bare.by_processor for ours, bare in pairs]
        ours, bare = (statistics.median(one.by_clock for one in paces) for paces in (self.ours, self.bare))
        return f"{batch:>8,}{ours:>14,.0f}{bare:>14,.0f}{_range(clock):>20}{_range(processor):>20}"


def _range(ratios: Sequence[float]) -> str:
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"


def measure_types(folder: Path, turns: int, only: Sequence[str] = ()) -> Iterator[str]:
    """Yields a line with both speeds and their ratio for each type and batch size, as they are measured.

    Args:
      folder: an existing folder for the models.
      turns: the number of turns of each measurement.
      only: the types to measure; empty for all.
    """
    yield f"  {'type':24}{'batch':>8}{'ours':>14}{'bare':>14}{'ratio':>20}{'by processor':>20}   model; bare is"
    for title, (model, rival, prepare) in _contests(folder):
        name = title.partition(",")[0]
        if only and name not in only:
            continue
        place = folder / title.replace(", ", "-")
        place.mkdir()
        try:
            for batch, speed in _speeds(name, prepare(place), turns):
                yield f"  {title:24}{speed.text(batch)}   {model}; {rival}"
        except (ImportError, ServingError, OSError, subprocess.CalledProcessError) as error:
            yield f"  {title:24}   skipped: {type(error).__name__}: {error}"


def _contests(folder: Path) -> Iterator[tuple[str, tuple[str, str, Prepare]]]:
    from benchmarks.contests.h2o import BOOSTED
    from benchmarks.contests.installed_code import FUNCTIONS, code_installed
    from benchmarks.contests.networks import NETWORKS
    from benchmarks.contests.tables import TABLES

    every: Mapping[str, tuple[str, str, Prepare]] = {**NETWORKS, **TABLES, **BOOSTED, **FUNCTIONS}
    with code_installed(folder):
        yield from every.items()


def _speeds(model_type: str, contest: Contest, turns: int) -> Iterator[tuple[int, Speed]]:
    model = load_contest(model_type, contest)
    try:
        check_same_answers(model, contest)
        for rows in BATCHES:
            score = scoring_of(model, contest, contest.columns(rows))
            bare = partial(contest.bare, contest.ready(rows))
            yield rows, compared(rows, score, bare, turns, contest)
    finally:
        model.close()


def compared(rows: int, ours: Callable[[], Any], bare: Callable[[], Any], turns: int, contest: Contest) -> Speed:
    """Measures two functions in turns, as long as the contest demands; a call of either scores this many rows."""
    for score in (ours, bare):
        _pace(score, rows, contest.warm_seconds)
    seconds = contest.turn_seconds
    pairs = [(_pace(ours, rows, seconds), _pace(bare, rows, seconds)) for _ in range(turns)]
    return Speed(tuple(one for one, _ in pairs), tuple(other for _, other in pairs))


def _pace(score: Callable[[], Any], rows: int, seconds: float) -> Pace:
    """Repeats a call until it has taken this much processor time, which is as much work on a busy machine."""
    calls, start, used = 0, time.perf_counter(), time.process_time()
    while True:
        score()
        calls += 1
        taken = time.process_time() - used
        if taken >= seconds:
            return Pace(rows * calls / (time.perf_counter() - start), rows * calls / taken)
