"""A rehearsal as text for people, and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from models.rehearsal.comparison import Performance
from models.rehearsal.limits import Rehearsal


def report_lines(rehearsal: Rehearsal) -> Iterator[str]:
    """The lines of the text: both models side by side, then each output."""
    yield _title(rehearsal)
    yield ""
    sides = [rehearsal.performance, *([rehearsal.live_performance] if rehearsal.live_performance else [])]
    names = [rehearsal.candidate, *([rehearsal.against] if rehearsal.against else [])]
    yield from _aligned(
        [
            ["", *names],
            ["errors", *(_part(one.errors, one.records) for one in sides)],
            ["NaN or infinity", *(_part(one.non_finite, one.records) for one in sides)],
            ["records/s", *(f"{one.records_per_second:,.0f}" for one in sides)],
            ["call, median (ms)", *(f"{one.p50:.3f}" for one in sides)],
            ["call, p99 (ms)", *(f"{one.p99:.3f}" for one in sides)],
        ]
    )
    for name, side in zip(names, sides, strict=True):
        yield from _reasons(name, side)
    comparison = rehearsal.comparison
    if comparison is None:
        yield ""
        yield "No model answers these records yet, so there is nothing to compare with."
        return
    yield ""
    outputs = [[one.name, one.kind, f"{one.agreement:.2%}", f"{one.shift:.4f}"] for one in comparison.outputs]
    yield from _aligned([["output", "compared as", "agreement", "shift (PSI)"], *outputs])
    yield ""
    yield f"Both agree on {comparison.agreement:.2%} of {comparison.records:,} records."


def report_json(rehearsal: Rehearsal, broken: Sequence[str]) -> dict[str, Any]:
    """The rehearsal, its figures and the limits that the candidate exceeds, as a JSON object."""
    value = asdict(rehearsal)
    return {**value, "error_share": rehearsal.error_share, "slowdown": rehearsal.slowdown, "broken_limits": [*broken]}


def _title(rehearsal: Rehearsal) -> str:
    against = f" against {rehearsal.against}" if rehearsal.against else ""
    left_out = f" ({rehearsal.malformed:,} malformed ones left out)" if rehearsal.malformed else ""
    records = f"{rehearsal.performance.records:,} records of {rehearsal.data_type!r}{left_out}"
    return f"{rehearsal.candidate}{against}, on {records}"


def _reasons(name: str, side: Performance) -> Iterator[str]:
    for reason, records in side.reasons:
        yield f"{name}, {records:,} records: {reason}"


def _part(count: int, whole: int) -> str:
    return f"{count:,} ({count / whole:.2%})" if whole else "0"


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
