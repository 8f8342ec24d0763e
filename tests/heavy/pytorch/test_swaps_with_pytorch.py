"""Swaps between PyTorch and every other type that runs in the process, in both directions, under load."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import torch

from tests.end_to_end.conftest import Deploy
from tests.end_to_end.constant_models import CONSTANT_MODELS, ConstantModel
from tests.end_to_end.type_swaps import Walk
from tests.heavy.pytorch import programs

TYPE = "pytorch"


class Constant(torch.nn.Module):
    """Answers its number for every row."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"y": x * 0 + self.number}


def save_constant(folder: Path, number: int) -> Path:
    path = folder / "constant.pt2"
    path.write_bytes(programs.exported(Constant(number), torch.zeros(2)))
    return path


MODELS = {**CONSTANT_MODELS, TYPE: ConstantModel(save_constant, "x", "y")}
# To each other type and back.
WALK = Walk([TYPE, *(kind for other in sorted(CONSTANT_MODELS) for kind in (other, TYPE))], MODELS)


def test_the_walk_leads_from_pytorch_to_each_type_and_back() -> None:
    pairs = set(pairwise(WALK.kinds))
    assert pairs == {pair for other in CONSTANT_MODELS for pair in ((TYPE, other), (other, TYPE))}


@pytest.mark.timeout(900)
def test_swaps_between_pytorch_and_each_other_type_lose_no_record_and_tell_no_lie(
    deploy: Deploy, environment: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    WALK.play(deploy, tmp_path, monkeypatch)
