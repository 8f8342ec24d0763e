"""The program of the Flex template's launcher: passes the parameters of a job to `beam-serving run`."""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from apache_beam.io.filesystems import FileSystems

from beam_pipeline.cli import command_line
from beam_pipeline.template.parameters import CONFIG, option_words

# The launcher passes these too, but the runner's plan sets them.
_SET_BY_PLAN = (
    "runner",
    "streaming",
    "save_main_session",
    "no_save_main_session",
    "pickle_library",
    "enable_streaming_engine",
)
_FILES = (CONFIG, "record_schema")
# A file in a bucket, with the parts of a record schema that may surround it: derived:FILE, FILE#MESSAGE.
_IN_BUCKET = re.compile(r"(?P<before>(?:derived:)?)(?P<file>gs://[^#]+)(?P<after>(?:#.*)?)")


def main(arguments: Sequence[str] | None = None) -> int:
    """Builds the graph with the parameters, for the service to start, and returns the exit status of `run`.

    Args:
      arguments: --NAME=VALUE as passed by the launcher; None for the arguments of this process.
    """
    with tempfile.TemporaryDirectory() as folder:
        return command_line.main(run_words(sys.argv[1:] if arguments is None else arguments, Path(folder)))


def run_words(arguments: Sequence[str], folder: Path) -> list[str]:
    """Translates parameters into the arguments of `beam-serving`, and copies files in gs:// into `folder`.

    Raises:
      OptionsError: the value of a K=V parameter is malformed.
    """
    named = [argument.removeprefix("--").partition("=") for argument in arguments]
    given = [
        (name, _local(name, value, folder)) for name, equals, value in named if equals and name not in _SET_BY_PLAN
    ]
    flags = [f"--{name}" for name, equals, _ in named if not equals and name not in _SET_BY_PLAN]
    words, others = option_words(given)
    return ["run", "--runner=DataflowRunner", *words, *others, *flags]


def _local(name: str, value: str, folder: Path) -> str:
    found = _IN_BUCKET.fullmatch(value)
    if name not in _FILES or found is None:
        return value
    copy = folder / name
    with FileSystems.open(found["file"]) as remote:
        copy.write_bytes(remote.read())
    return f"{found['before']}{copy}{found['after']}"
