"""`beam-serving demo`: all of it on this machine, in less than a minute."""

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
    parser.add_argument("--forever", action="store_true", help="begin again at the end, until Ctrl-C")
    parser.add_argument(
        "--bootstrap-servers",
        metavar="HOST:PORT",
        help="a real broker (default: one inside this process); the topics are made for this run and deleted after it",
    )
    parser.add_argument(
        "--seconds",
        type=float,
        metavar="N",
        help="how long it takes once the pipeline is up, about (default: three quarters of a minute)",
    )
    parser.add_argument(
        "--plain", action="store_true", help="lines instead of the live view (so it is where there is no terminal)"
    )
    parser.add_argument("--picture", type=Path, metavar="FILE", help=argparse.SUPPRESS)
    parser.epilog = (
        "Wines that tasters have judged flow through Kafka at 500 a second. Models arrive while they flow: a weak one, "
        "a good one, one that cannot be loaded; then comes a retirement and a rollback. The accuracy is measured on "
        "rows that no model was trained on."
    )


def run(given: argparse.Namespace, rest: Sequence[str]) -> int:
    """Runs to the end or to Ctrl-C; see `command_line.Command`."""
    if given.seconds is not None and not given.seconds >= _LEAST_SECONDS:
        raise OptionsError(f"--seconds {given.seconds:g} is below {_LEAST_SECONDS:g}")
    if find_spec("beam_pipeline.demo") is None:
        raise DemoMissingError(
            "the demo comes with the source tree, not with the package: clone the repository and run `make demo` there"
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
    """Nothing that a library says may garble the view."""
    logging.basicConfig(
        level=logging.INFO, filename=file, format="%(asctime)s %(levelname)-7s %(name)s: %(message)s", force=True
    )
