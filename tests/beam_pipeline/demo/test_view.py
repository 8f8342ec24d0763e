from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from beam_pipeline.demo.picture import save_picture
from beam_pipeline.demo.presentation import PlainPresentation
from beam_pipeline.demo.snapshot import Event, Handover, Refusal, Snapshot, VersionLine
from beam_pipeline.demo.summary import draw_summary
from beam_pipeline.demo.view import draw

FULL = Snapshot(
    elapsed=61.2,
    rates_in=(500,) * 60,
    rates_out=(480, 520) * 30,
    timeline=(-1, *(None,) * 10, *(1,) * 20, *(2,) * 30),
    scoring=2,
    recent_p50=21.4,
    recent_p99=88.8,
    p50=25.0,
    p99=120.0,
    sent=30_600,
    answered=30_590,
    waiting=10,
    malformed_sent=5,
    malformed_descriptors_sent=1,
    dead_records=5,
    dead_descriptors=1,
    dead_reason="no wine record: EOFError:\n expected 8 bytes " + "and so on " * 30,
    versions=(
        VersionLine(None, records=5_000),
        VersionLine(1, "weak", "logistic regression, 80 rows", "replaced", 10_000, 0.445, 4.0),
        VersionLine(2, "good", "network of 128 neurons, all rows", "serving", 15_590, 0.591, 4.5),
        VersionLine(3, "broken", "the good one, variables missing", "refused"),
    ),
    refusals=(Refusal(3, "model 'wine' version 3: TensorFlow cannot load it: " + "no variables " * 30, 4, 40.0),),
    handovers=(Handover("v1 published", 1, 3.2), Handover("retired", None, 0.2)),
    events=tuple(Event(float(number), f"event {number} " + "x" * 150) for number in range(60)),
)


def drawn(snapshot: Snapshot, width: int, height: int) -> list[str]:
    console = Console(width=width, height=height, file=io.StringIO(), record=True)
    subtitle = "red wines, 500/s · DirectRunner · embedded Kafka"
    console.print(draw(snapshot, subtitle, width, height, "http://127.0.0.1:31234"), height=height)
    return console.export_text().splitlines()


@pytest.mark.parametrize(("width", "height"), [(80, 24), (100, 30), (120, 40), (200, 60)])
@pytest.mark.parametrize("snapshot", [Snapshot(0.0), FULL])
def test_the_view_fills_the_terminal_exactly(snapshot: Snapshot, width: int, height: int) -> None:
    lines = drawn(snapshot, width, height)
    assert len(lines) == height
    assert {len(line) for line in lines[1:]} == {width}


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40)])
def test_everything_that_counts_is_in_sight(width: int, height: int) -> None:
    text = "\n".join(drawn(FULL, width, height))
    for wanted in (
        "500/s",
        "p50 21 ms  p99 89 ms",
        "wine v2",
        "44.5%",
        "59.1%",
        "15,590",
        "4.5 ms",
        "v3 refused, tried 4 times: TensorFlow cannot load it",
        "6 dead letters, the last: no wine record",
        "event 59",
        "61 s",
        "in the browser: http://127.0.0.1:31234",
    ):
        assert wanted in text, wanted


def test_a_small_terminal_is_no_error() -> None:
    assert drawn(FULL, 40, 10)


def test_the_picture_names_no_other_place(tmp_path: Path) -> None:
    file = tmp_path / "demo.svg"
    save_picture(FULL, "red wines", file)
    svg = file.read_text(encoding="utf-8")
    assert "wine&#160;v2" in svg
    assert "font-face" not in svg


def test_the_summary_says_what_happened_and_what_went_wrong() -> None:
    console = Console(width=100, file=io.StringIO(), record=True)
    console.print(draw_summary(replace(FULL, duplicates=3), ["10 records have no result"]))
    text = console.export_text()
    for wanted in (
        "30,600",
        "30,590, 3 duplicates",
        "p50 25 ms, p99 120 ms",
        "after 3.20 s",
        "5 of 5 malformed records",
    ):
        assert wanted in text, wanted
    assert "10 records have no result" in text
    assert "as it should" not in text


def test_without_a_terminal_each_event_is_one_line_and_comes_once() -> None:
    console = Console(width=80, file=io.StringIO(), record=True)
    plain = PlainPresentation(console, "red wines")
    events = (Event(0.0, "the stream flows"), Event(8.3, "v1 published"))
    plain.show(replace(FULL, elapsed=0.3, events=events[:1]))
    plain.show(replace(FULL, elapsed=8.4, events=events))
    plain.show(replace(FULL, elapsed=8.6, events=events))
    lines = console.export_text().splitlines()
    assert [line for line in lines if "v1 published" in line] == ["  8.3 s  v1 published"]
    assert sum("the stream flows" in line for line in lines) == 1
    assert sum("p50 21 ms" in line for line in lines) == 2
