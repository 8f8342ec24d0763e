"""The program of the Flex template's launcher: passes the parameters of a job to `beam-serving run`."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from beam_pipeline.cli import command_line
from beam_pipeline.template.bucket_files import BucketFiles
from beam_pipeline.template.parameters import CONFIG, option_words
from models.errors import OptionsError

# The launcher passes these too, but the runner's plan sets them.
_SET_BY_PLAN = (
    "runner",
    "streaming",
    "save_main_session",
    "no_save_main_session",
    "pickle_library",
    "enable_streaming_engine",
)
_SCHEMA = "record_schema"


def main(arguments: Sequence[str] | None = None) -> int:
    """Builds the graph with the parameters, for the service to start, and returns the exit status of `run`.

    Args:
      arguments: --NAME=VALUE as passed by the launcher; None for the arguments of this process.
    """
    with tempfile.TemporaryDirectory() as folder:
        try:
            words = run_words(sys.argv[1:] if arguments is None else arguments, Path(folder))
        except OptionsError as error:
            print(f"beam-serving template: {error}", file=sys.stderr)
            return 2
        return command_line.main(words)


def run_words(arguments: Sequence[str], folder: Path) -> list[str]:
    """Translates parameters into the arguments of `beam-serving`, and copies files in gs:// into `folder`.

    These are the configuration file and the record schemas, including those that the configuration file names.

    Raises:
      OptionsError: the value of a K=V parameter is malformed, or a file cannot be read.
    """
    files = BucketFiles(folder)
    named = [argument.removeprefix("--").partition("=") for argument in arguments]
    given = [(name, _local(files, name, value)) for name, equals, value in named if equals and name not in _SET_BY_PLAN]
    flags = [f"--{name}" for name, equals, _ in named if not equals and name not in _SET_BY_PLAN]
    words, others = option_words(given)
    return ["run", "--runner=DataflowRunner", *words, *others, *flags]


def _local(files: BucketFiles, name: str, value: str) -> str:
    if name == CONFIG:
        return files.local_config(value)
    return files.local(value) if name == _SCHEMA else value
