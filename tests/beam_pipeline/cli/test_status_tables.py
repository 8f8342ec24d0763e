from __future__ import annotations

from dataclasses import replace

import pytest

from beam_pipeline.cli.status_tables import status_tables
from beam_pipeline.cli.tables import literal_console
from models.status.events import ArmShare
from models.status.model_status import ModelStatus, WorkerStatus

WINE = ModelStatus(
    "wine", 1, "a good model", "serving", 1_000, 42, 1, 1.5, 0.5, 9.0, None, "group", 1.2, 8.8, 1, 12_300_000
)
WORKER = WorkerStatus("host:1", "group", 1_000, 0, (), 900_000_000)


def shown(models: list[ModelStatus], workers: list[WorkerStatus], now: int = 2_000, width: int = 150) -> str:
    console = literal_console(width)
    with console.capture() as capture:
        console.print(status_tables(models, workers, now))
    return capture.get()


@pytest.mark.parametrize("width", [80, 150])
def test_a_version_shows_its_figures_its_arms_and_why_it_is_not_loaded(width: int) -> None:
    arms = ArmShare("wine", "live", "serve", 0.9), ArmShare("wine", "s", "shadow", 1.0)
    broken = replace(WINE, version=2, state="failed", last_error="no such file")
    text = shown([replace(WINE, arms=arms), broken], [], width=width)
    for part in ("wine/1", "serving", "42", "1.2", "8.8", "12 MB", "wine/2 failed: no such file"):
        assert part in text
    assert "90%" in text
    assert "shadow" in text


def test_texts_are_printed_as_they_are() -> None:
    hostile = "[/red] [bold]x[/bold] :smile: \\[a]"
    text = shown(
        [replace(WINE, description=hostile, last_error=hostile)], [replace(WORKER, stopped=hostile)], width=300
    )
    assert text.count(hostile) == 3


@pytest.mark.parametrize(
    ("worker", "now", "notice"),
    [
        (WORKER, 2_000, None),
        (replace(WORKER, lag=3), 2_000, "3 messages of the models topic behind"),
        (replace(WORKER, lag=None), 2_000, "follows a models topic that was deleted"),
        (replace(WORKER, waiting=("wine/2", "wine/3")), 2_000, "not loaded: wine/2, wine/3"),
        (replace(WORKER, stopped="two partitions"), 2_000, "no longer follows the models topic: two partitions"),
        (WORKER, 32_000, "silent for more than 30 s"),
    ],
)
def test_a_worker_says_why_it_does_not_serve_what_it_should(worker: WorkerStatus, now: int, notice: str | None) -> None:
    text = shown([WINE], [worker], now)
    assert "host:1" in text
    assert (notice or "900 MB") in text
    assert worker.needs_attention(now) == (notice is not None)
