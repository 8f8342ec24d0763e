"""More models than the memory for them holds, on Prism: each record waits for its own model only."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.end_to_end.conftest import Deploy

MODELS = 6
MEGABYTES = 40
BUDGET = 100


def test_each_record_is_answered_by_its_model_although_not_all_fit(
    deploy: Deploy, version_model: Callable[..., Path]
) -> None:
    deployment = deploy()
    for number in range(1, MODELS + 1):
        model = version_model(number, size_mb=MEGABYTES)
        deployment.publish(f"large-{number}", model, {"x": ("user",)}, inline=False)
    deployment.start(model_memory=BUDGET)
    for _ in range(3):
        rows = [{"user": 1, "products": [], "dataType": f"large-{number}"} for number in range(1, MODELS + 1)]
        results = deployment.score(*rows)
        assert [one.error for one in results] == [None] * MODELS
        assert [one.values("version") for one in results] == [[number] for number in range(1, MODELS + 1)]
    # Two of them fit at most, so each one had to go before its turn came again.
    for number in range(1, MODELS + 1):
        assert len(deployment.status("unloaded", f"large-{number}", 1, number=2)) >= 2
