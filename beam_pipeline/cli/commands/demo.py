"""`beam-serving demo`: shows the whole system on this machine, in about a minute."""

from __future__ import annotations

import argparse
import logging
import signal
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from beam_pipeline.cli.arguments import runs_until_stopped
from models.errors import DemoMissingError, OptionsError
from runners.local.signals import interrupted_by_signals

_LEAST_SECONDS = 15.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's own arguments."""
    runs_until_stopped(parser)
    parser.add_argument("--forever", action="store_true", help="repeat the demo until Ctrl-C")
    parser.add_argument(
        "--bootstrap-servers",
        metavar="HOST:PORT",
        help="use a real broker (default: one embedded in this process); topics are created for this run and deleted "
        "after it",
    )
    parser.add_argument(
        "--seconds",
        type=float,
        metavar="N",
        help="approximate duration once the pipeline is up (default: 45)",
    )
    parser.add_argument(
        "--plain", action="store_true", help="print lines instead of the live view (the default without a terminal)"
    )
    parser.add_argument("--picture", type=Path, metavar="FILE", help=argparse.SUPPRESS)
    parser.epilog = (
        "Records of wines, whose quality was rated by tasters, flow through Kafka at 500 per second. Meanwhile models "
        "arrive: a weak one, a good one, and one that cannot be loaded; then a retirement and a rollback follow. "
        "Accuracy is measured on rows that no model was trained on."
    )


def run(given: argparse.Namespace, rest: Sequence[str]) -> int:
    """Runs the demo to its end or to Ctrl-C; see `command_line.Command`."""
    if given.seconds is not None and not given.seconds >= _LEAST_SECONDS:  # NaN is refused, too
        raise OptionsError(f"--seconds {given.seconds:g} is less than {_LEAST_SECONDS:g}")
    if find_spec("beam_pipeline.demo") is None:
        raise DemoMissingError(
            "the demo is part of the source tree, not of the package: clone the repository and run `make demo` there"
        )
    _run_demo(given)
    return 0


def _run_demo(given: argparse.Namespace) -> None:
    from rich.console import Console

    from beam_pipeline.demo import USUAL_SECONDS
    from beam_pipeline.demo.run import Demo, DemoSettings, work_folder

    console = Console()
    settings = DemoSettings(
        bootstrap_servers=given.bootstrap_servers,
        seconds=USUAL_SECONDS if given.seconds is None else given.seconds,
        forever=given.forever,
        plain=given.plain or not console.is_terminal,
        picture=given.picture,
    )
    with interrupted_by_signals(signal.SIGHUP), work_folder(console) as folder:
        _log_into(folder / "demo.log")
        Demo(settings, console, folder).run()


def _log_into(file: Path) -> None:
    """Logs into a file only, so that no library's message garbles the view."""
    logging.basicConfig(
        level=logging.INFO, filename=file, format="%(asctime)s %(levelname)-7s %(name)s: %(message)s", force=True
    )
