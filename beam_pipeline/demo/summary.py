"""The summary that stays on the terminal after the demo."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from beam_pipeline.demo.snapshot import Snapshot
from beam_pipeline.demo.view import KIND_STYLES, milliseconds, percent, reason, version_name

_VERSIONS_SHOWN = 9


def draw_summary(snapshot: Snapshot, wrong: Sequence[str]) -> RenderableType:
    """The tables, and the verdict: what went wrong, or that nothing did."""
    verdict = Text("\n".join(wrong), "bold red") if wrong else Text("Everything happened as it should.", "bold green")
    return Group(_versions(snapshot), Text(""), _figures(snapshot), Text(""), verdict)


def _versions(snapshot: Snapshot) -> Table:
    table = Table(title="Model versions", title_justify="left", title_style="bold")
    table.add_column("version", no_wrap=True)
    table.add_column("model")
    table.add_column("records", justify="right", no_wrap=True)
    table.add_column("accuracy", justify="right", no_wrap=True)
    table.add_column("mean call", justify="right", no_wrap=True)
    numbered = [line for line in snapshot.versions if line.version is not None]
    for line in (snapshot.line(None), *numbered[-_VERSIONS_SHOWN:]):
        table.add_row(
            Text(version_name(line.version), KIND_STYLES[line.kind]),
            line.description,
            f"{line.records:,}",
            percent(line.accuracy),
            milliseconds(line.call_milliseconds),
        )
    return table


def _figures(snapshot: Snapshot) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bright_black", no_wrap=True)
    grid.add_column(overflow="fold")
    duplicates = f", {snapshot.duplicates:,} duplicates" if snapshot.duplicates else ""
    grid.add_row("records sent", f"{snapshot.sent:,}")
    grid.add_row("results received", f"{snapshot.answered:,}{duplicates}")
    grid.add_row("lost", Text(str(snapshot.waiting), "bold red" if snapshot.waiting else "bold green"))
    grid.add_row("latency", f"p50 {milliseconds(snapshot.p50)}, p99 {milliseconds(snapshot.p99)}")
    for handover in snapshot.handovers[-_VERSIONS_SHOWN:]:
        by = f"by {version_name(handover.version)}" if handover.version else "without a model"
        grid.add_row(handover.what, f"first result {by} after {handover.seconds:.2f} s")
    for refusal in snapshot.refusals[-3:]:
        grid.add_row(f"v{refusal.version} refused", reason(refusal))
    grid.add_row(
        "dead letters",
        f"{snapshot.dead_records} of {snapshot.malformed_sent} malformed records, "
        f"{snapshot.dead_descriptors} of {snapshot.malformed_descriptors_sent} malformed descriptors",
    )
    return grid
