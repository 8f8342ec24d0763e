"""The tables of `beam-serving status`."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table

from beam_pipeline.cli.model_status import SILENT_MILLISECONDS, ModelStatus, WorkerStatus
from models.serving.status import ArmShare

_WARNING, _ERROR = "yellow", "bold red"


def status_tables(models: Sequence[ModelStatus], workers: Sequence[WorkerStatus], now: int) -> RenderableType:
    """A table of models, and one of workers if any has reported its state.

    Args:
      models: the model versions to show.
      workers: the workers to show.
      now: in milliseconds since 1970-01-01 UTC.
    """
    return Group(_models(models), _workers(workers, now)) if workers else _models(models)


def _models(models: Sequence[ModelStatus]) -> Table:
    """A row for each version in each deployment; durations are in milliseconds."""
    shown = _table("name")
    for column in ("version", "state", "answers", "since", "usage", "average", "p50", "p99", "max", "errors", "memory"):
        left = column in ("state", "since", "answers")
        shown.add_column(column, no_wrap=column != "answers", justify="left" if left else "right")
    several = len({one.deployment for one in models}) > 1
    if several:
        shown.add_column("deployment", overflow="fold")
    shown.add_column("description", overflow="fold")
    for one in models:
        durations = [f"{value:.2f}" for value in (one.average, one.p50, one.p99, one.maximum)]
        shown.add_row(
            one.name,
            str(one.version),
            one.state,
            ", ".join(dict.fromkeys(map(_arm, one.arms))),
            "" if one.since is None else _clock(one.since),
            str(one.usage),
            *(durations if one.usage else [""] * 4),
            str(one.errors),
            _megabytes(one.memory),
            *([one.deployment] if several else []),
            one.last_error or one.description or "",
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
    table.add_column(first, overflow="fold", min_width=10)
    return table


def _arm(arm: ArmShare) -> str:
    return arm.role if not arm.arm else f"{arm.role} {arm.share:.0%}"


def _clock(milliseconds: int) -> str:
    return f"{datetime.datetime.fromtimestamp(milliseconds / 1000):%H:%M:%S}"


def _megabytes(number: int) -> str:
    return f"{number / 1e6:.0f} MB" if number else ""
