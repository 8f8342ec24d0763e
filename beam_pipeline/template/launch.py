"""What the Flex template's launcher runs: the parameters of a job, to `beam-serving run`."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from apache_beam.io.filesystems import FileSystems

from beam_pipeline.cli import command_line
from beam_pipeline.template.parameters import CONFIG, option_words

# The launcher gives them, too; the runner's plan sets them.
_SET = ("runner", "streaming", "save_main_session", "no_save_main_session", "pickle_library", "enable_streaming_engine")
_FILES = (CONFIG, "record_schema")


def main(arguments: Sequence[str] | None = None) -> int:
    """Builds the graph with the parameters, for the service to start; gives the exit status of `run`.

    Args:
      arguments: --NAME=VALUE as the launcher gives them; None: those of this process.
    """
    with tempfile.TemporaryDirectory() as folder:
        return command_line.main(run_words(sys.argv[1:] if arguments is None else arguments, Path(folder)))


def run_words(arguments: Sequence[str], folder: Path) -> list[str]:
    """The command that the parameters stand for; files in gs:// are copied into `folder`.

    Raises:
      OptionsError: for a value that cannot be taken apart.
    """
    named = [argument.removeprefix("--").partition("=") for argument in arguments]
    given = [(name, _local(name, value, folder)) for name, equals, value in named if equals and name not in _SET]
    flags = [f"--{name}" for name, equals, _ in named if not equals and name not in _SET]
    words, others = option_words(given)
    return ["run", "--runner=DataflowRunner", *words, *others, *flags]


def _local(name: str, value: str, folder: Path) -> str:
    if name not in _FILES or not value.startswith("gs://"):
        return value
    copy = folder / name
    with FileSystems.open(value) as remote:
        copy.write_bytes(remote.read())
    return str(copy)
