"""Runs programs of this machine, with their last lines in the error when they fail."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from flink.cluster.errors import ClusterError

SECONDS = 600.0
_SHOWN = 2000


def run(
    command: Sequence[str | Path],
    *,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    given: str | None = None,
    seconds: float = SECONDS,
) -> str:
    """Runs a command and returns its standard output.

    Args:
      command: the program and its arguments.
      folder: the working directory.
      environment: variables that are added to those of this process.
      given: the text for its standard input.
      seconds: how long it may take.

    Raises:
      ClusterError: the program is missing, fails, or takes too long.
    """
    line = " ".join(map(str, command[:4]))
    try:
        done = subprocess.run(
            [str(part) for part in command],
            cwd=folder,
            env={**os.environ, **(environment or {})},
            input=given,
            stdin=subprocess.DEVNULL if given is None else None,
            capture_output=True,
            text=True,
            timeout=seconds,
        )
    except FileNotFoundError as error:
        raise ClusterError(f"{command[0]} is not on PATH") from error
    except subprocess.TimeoutExpired as error:
        raise ClusterError(f"{line} did not finish within {seconds:.0f} s") from error
    if done.returncode != 0:
        raise ClusterError(f"{line} failed:\n{(done.stdout + done.stderr).strip()[-_SHOWN:]}")
    return done.stdout
