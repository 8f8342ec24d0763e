"""`beam-serving ...`, also `python -m beam_pipeline ...`: parses, dispatches, and turns errors into messages."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Protocol

from models.errors import OptionsError, ServingError
from runners.local.signals import INTERRUPTED, interrupted_by_signals

# Command to the module that does it and a line of help. A module is imported only for its own command, and imports what
# takes long (Beam, TensorFlow, numpy, Kafka's client) only when its arguments are parsed and checked: --help and usage
# errors come at once, and a test holds it.
COMMANDS = {
    "run": ("beam_pipeline.cli.commands.run", "score a stream of records with models that arrive as data"),
    "models": ("beam_pipeline.cli.commands.models", "publish, list, roll back and retire models"),
    "generate": ("beam_pipeline.cli.commands.generate", "generate records, or publish models in turns"),
    "results": ("beam_pipeline.cli.commands.results", "show results as they come"),
    "status": ("beam_pipeline.cli.commands.status", "show what each model has done"),
    "dead-letters": ("beam_pipeline.cli.commands.dead_letters", "show malformed messages, and put repaired ones back"),
    "template": ("beam_pipeline.cli.commands.template", "stage a Dataflow template, or print its metadata"),
    "demo": ("beam_pipeline.cli.commands.demo", "all of it on this machine, in less than a minute"),
}
TAKES_BEAM_OPTIONS = ("run", "template")


class Command(Protocol):
    """What a module of `COMMANDS` has."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Adds the command's own arguments."""

    def run(self, given: argparse.Namespace, rest: Sequence[str]) -> int:
        """Does it; gives the exit status.

        Args:
          given: the parsed arguments.
          rest: the arguments that are not of this application, for a command of `TAKES_BEAM_OPTIONS`.
        """


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command.

    SIGINT (Ctrl-C) and SIGTERM end it, also where the process was started with them ignored.

    Returns:
      0 when it worked (also when a signal ended what runs until a signal), 1 when it did not, 2 on a usage error, 130
      when a signal interrupted something finite.
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
            raise OptionsError(f"unknown: {' '.join(rest)}; see beam-serving {name} --help")
        with interrupted_by_signals():
            return command.run(given, rest)
    except OptionsError as error:
        print(f"beam-serving {name}: {error}", file=sys.stderr)
        return 2
    except ServingError as error:
        print(f"beam-serving {name}: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader of our output has gone
        sys.stderr.close()
        return 0
    except KeyboardInterrupt:
        return 0 if getattr(given, "until_stopped", False) else INTERRUPTED


def _parser(wanted: str | None) -> argparse.ArgumentParser:
    """The parser; only the wanted command's module is imported for its arguments."""
    parser = argparse.ArgumentParser(
        prog="beam-serving",
        description="Model serving on Apache Beam with models as data.",
        epilog="beam-serving COMMAND --help tells more.",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(metavar="COMMAND")
    for name, (_, summary) in COMMANDS.items():
        child = commands.add_parser(name, help=summary, description=summary.capitalize() + ".", allow_abbrev=False)
        if name == wanted:
            _load(name).add_arguments(child)
    return parser


def _load(name: str) -> Command:
    command: Command = import_module(COMMANDS[name][0])
    return command


if __name__ == "__main__":
    sys.exit(main())
