"""The tables of `beam-serving status`."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from models.status.events import ArmShare
from models.status.model_status import SILENT_MILLISECONDS, ModelStatus, WorkerStatus

_WARNING, _ERROR = "yellow", "bold red"


def status_tables(models: Sequence[ModelStatus], workers: Sequence[WorkerStatus], now: int) -> RenderableType:
    """A table of models, the errors of their loads, and a table of workers if any has reported its state.

    Args:
      models: the model versions to show.
      workers: the workers to show.
      now: in milliseconds since 1970-01-01 UTC.
    """
    failures = [
        Text(f"{one.name}/{one.version} {one.state}: {one.last_error}", _ERROR) for one in models if one.last_error
    ]
    return Group(_models(models), *failures, *([_workers(workers, now)] if workers else []))


def _models(models: Sequence[ModelStatus]) -> Table:
    """A row for each version in each deployment; durations are in milliseconds."""
    shown = _table("model")
    for column in ("state", "arms", "since"):
        shown.add_column(column, no_wrap=column != "arms", min_width=9 if column == "arms" else None)
    for column in ("usage", "p50", "p99", "errors", "memory"):
        shown.add_column(column, no_wrap=True, justify="right")
    several = len({one.deployment for one in models}) > 1
    if several:
        shown.add_column("deployment", overflow="fold")
    shown.add_column("description", overflow="ellipsis", no_wrap=True)
    for one in models:
        shown.add_row(
            f"{one.name}/{one.version}",
            one.state,
            ", ".join(dict.fromkeys(map(_arm, one.arms))),
            "" if one.since is None else _clock(one.since),
            str(one.usage),
            *((f"{one.p50:.3g}", f"{one.p99:.3g}") if one.usage else ("", "")),
            str(one.errors),
            _megabytes(one.memory),
            *([one.deployment] if several else []),
            one.description or "",
            style=_ERROR if one.state == "failed" else None,
        )
    return shown


def _workers(workers: Sequence[WorkerStatus], now: int) -> Table:
    """A row for each worker; one that does not serve what it should is coloured and says why."""
    shown = _table("worker")
    for column in ("deployment", "lag", "memory", "seen", "notice"):
        shown.add_column(column, overflow="fold", justify="right" if column in ("lag", "memory") else "left")
    for one in workers:
        style = (_ERROR if one.stopped is not None else _WARNING) if one.needs_attention(now) else None
        shown.add_row(
            one.worker,
            one.deployment,
            "?" if one.lag is None else str(one.lag),
            _megabytes(one.memory),
            _clock(one.seen),
            _notice(one, now),
            style=style,
        )
    return shown


def _notice(worker: WorkerStatus, now: int) -> str:
    found = []
    if worker.stopped is not None:
        found.append(f"no longer follows the models topic: {worker.stopped}")
    if worker.is_silent(now):
        found.append(f"silent for more than {SILENT_MILLISECONDS // 1000} s")
    if worker.lag is None:
        found.append("follows a models topic that was deleted")
    elif worker.lag:
        found.append(f"{worker.lag} messages of the models topic behind")
    if worker.waiting:
        found.append(f"not loaded: {', '.join(worker.waiting)}")
    return "; ".join(found)


def _table(first: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column(first, overflow="fold", min_width=8)
    return table


def _arm(arm: ArmShare) -> str:
    return arm.role if not arm.arm else f"{arm.role} {arm.share:.0%}"


def _clock(milliseconds: int) -> str:
    return f"{datetime.datetime.fromtimestamp(milliseconds / 1000):%H:%M:%S}"


def _megabytes(number: int) -> str:
    return f"{number / 1e6:.0f} MB" if number else ""
