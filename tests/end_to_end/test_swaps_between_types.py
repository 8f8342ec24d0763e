"""A swap from each model type to every other, under load, in one run of a pipeline."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest

from models.scorers import model_types
from tests.end_to_end.conftest import Deploy
from tests.end_to_end.constant_models import CONSTANT_MODELS
from tests.end_to_end.constant_servers import SERVED_CONSTANTS
from tests.end_to_end.type_swaps import Walk
from tests.models.scorers.heavy_types import HEAVY_TYPES

SEED = 11
TYPES = tuple(sorted({*CONSTANT_MODELS, *SERVED_CONSTANTS}))


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


WALK = Walk(round_trip(TYPES, SEED), CONSTANT_MODELS)


def test_the_walk_takes_each_pair_once_and_no_type_is_left_out() -> None:
    pairs = list(pairwise(WALK.kinds))
    assert len(pairs) == len(set(pairs)) == len(TYPES) * (len(TYPES) - 1)
    assert set(WALK.types) == set(model_types()) - HEAVY_TYPES


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_swap_from_each_type_to_each_other_loses_no_record_and_tells_no_lie(
    deploy: Deploy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    WALK.play(deploy, tmp_path, monkeypatch)
