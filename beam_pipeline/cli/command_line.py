"""Parses `beam-serving ...` (or `python -m beam_pipeline ...`), dispatches to a command and reports its errors."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Protocol

from beam_pipeline.cli.arguments import as_sentence
from models.errors import OptionsError, ServingError
from runners.local.signals import INTERRUPTED, interrupted_by_signals

# Each command's module and its line of help. A module is imported only for its own command, and imports slow libraries
# (Beam, TensorFlow, numpy, the Kafka client) only after its arguments are parsed and checked, so that --help and usage
# errors appear at once. A test checks this.
COMMANDS = {
    "run": ("beam_pipeline.cli.commands.run", "score a stream of records with models that arrive as data"),
    "models": ("beam_pipeline.cli.commands.models", "publish, list, roll back and retire models"),
    "generate": ("beam_pipeline.cli.commands.generate", "generate test records, or publish models in rotation"),
    "results": ("beam_pipeline.cli.commands.results", "show results"),
    "status": ("beam_pipeline.cli.commands.status", "show the state and the statistics of each model"),
    "kubernetes": ("beam_pipeline.cli.commands.kubernetes", "show models as objects of Kubernetes, with events"),
    "dashboard": ("beam_pipeline.cli.commands.dashboard", "show what is served, live, on a page in the browser"),
    "dead-letters": ("beam_pipeline.cli.commands.dead_letters", "show malformed messages, and replay repaired ones"),
    "template": ("beam_pipeline.cli.commands.template", "stage a Dataflow template, or print its metadata"),
    "demo": ("beam_pipeline.cli.commands.demo", "show the whole system on this machine, in about a minute"),
}
TAKES_BEAM_OPTIONS = ("run", "template")


class Command(Protocol):
    """What every module in `COMMANDS` provides."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Adds the command's own arguments."""

    def run(self, given: argparse.Namespace, rest: Sequence[str]) -> int:
        """Runs the command and returns its exit status.

        Args:
          given: the parsed arguments.
          rest: the arguments for Beam, for a command in `TAKES_BEAM_OPTIONS`; empty for the others.
        """


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command.

    SIGINT (Ctrl-C) and SIGTERM end it, even if the process was started with these signals ignored.

    Returns:
      0 on success, which includes a signal that ends a command meant to run until one; 1 on failure; 2 on a usage
      error; 130 when a signal interrupted any other command.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    name = next((word for word in words if not word.startswith("-")), None)
    parser = _parser(name)
    given, rest = parser.parse_known_args(words)
    if name not in COMMANDS:
        parser.print_help()
        return 2
    try:
        command = _load(name)
        if rest and name not in TAKES_BEAM_OPTIONS:
            raise OptionsError(f"unknown arguments: {' '.join(rest)}; see beam-serving {name} --help")
        with interrupted_by_signals():
            return command.run(given, rest)
    except OptionsError as error:
        print(f"beam-serving {name}: {error}", file=sys.stderr)
        return 2
    except ServingError as error:
        print(f"beam-serving {name}: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # for example, `beam-serving results | head` after head has exited
        sys.stderr.close()
        return 0
    except KeyboardInterrupt:
        return 0 if getattr(given, "until_stopped", False) else INTERRUPTED


def _parser(wanted: str | None) -> argparse.ArgumentParser:
    """The parser of all commands, with the arguments of the wanted command only: its module alone is imported."""
    parser = argparse.ArgumentParser(
        prog="beam-serving",
        description="Model serving on Apache Beam with models as data.",
        epilog="Run beam-serving COMMAND --help for the options of a command.",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(metavar="COMMAND")
    for name, (_, summary) in COMMANDS.items():
        child = commands.add_parser(name, help=summary, description=as_sentence(summary), allow_abbrev=False)
        if name == wanted:
            _load(name).add_arguments(child)
    return parser


def _load(name: str) -> Command:
    command: Command = import_module(COMMANDS[name][0])
    return command


if __name__ == "__main__":
    sys.exit(main())
