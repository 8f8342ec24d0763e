"""Runs git for locations that others have named: no hooks, no prompts, one protocol, limits on time and size.

In all other respects, the worker's own configuration of git and SSH applies, and so do its credentials: helpers, keys,
and the variables GIT_CONFIG_COUNT, GIT_CONFIG_KEY_0, GIT_CONFIG_VALUE_0 and so on, whose values may be references to
secrets::

    GIT_CONFIG_COUNT=1
    GIT_CONFIG_KEY_0=http.https://git.example.com/.extraHeader
    GIT_CONFIG_VALUE_0=secret:projects/P/secrets/git-header/versions/3
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from models.errors import MissingProgramError, ModelLoadError
from models.secret_references import SECRETS
from models.text import SERVER_TEXT_LIMIT, clean_text

LARGEST_FILE = 64 * 1024**3
"""The maximum size in bytes of a file that git writes, such as the one with all fetched objects."""

_SETTINGS = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "gc.auto=0",
    # git would send the settings for the first host, such as extra headers, to the second one.
    "http.followRedirects=false",
    "maintenance.auto=false",
    "transfer.bundleURI=false",
)
# Variables that make git work on another repository (a hook sets them, for example), or log the data that it sends.
_REMOVED = re.compile(
    r"GIT_(DIR|WORK_TREE|INDEX_FILE|OBJECT_DIRECTORY|ALTERNATE_OBJECT_DIRECTORIES|COMMON_DIR|NAMESPACE|PREFIX"
    r"|QUARANTINE_PATH|SHALLOW_FILE|TEMPLATE_DIR|TRACE.*|CURL_VERBOSE)"
)
_CONFIGURED = re.compile(r"GIT_CONFIG_VALUE_[0-9]+")
_PASSWORD = re.compile(r"//[^/@\s]*@")
# The shell sets the size limit, in blocks, before git starts, unless a lower limit is already set. The arguments are
# passed on as arguments.
_LIMITED = 'ulimit -f "$1" 2>/dev/null; shift; exec "$@"'
_BLOCK = 512
_MOST_OUTPUT = 64 * 1024 * 1024


class GitCommand:
    """Runs git in one folder, which contains the repository `repository` and the output of commands.

    Args:
      folder: an empty folder.
      protocol: the only protocol that git may use, even after a redirect, for example "https".

    Raises:
      MissingProgramError: when git is not installed.
      SecretUnavailableError: when a variable refers to a secret that cannot be read.
    """

    def __init__(self, folder: Path, protocol: str) -> None:
        git = shutil.which("git")
        if git is None:
            raise MissingProgramError("the program git is missing; install it here and wherever workers run")
        self._git = git
        self._folder = folder
        self._environment = _environment(os.environ, protocol)
        self.repository = folder / "repository"

    def run(self, arguments: Sequence[str], seconds: float, given: bytes = b"") -> bytes:
        """Runs a command and returns its output.

        Args:
          arguments: the arguments of git; names from others must follow "--", or begin with a slash or a name of ours.
          seconds: the time that the command may take.
          given: the standard input of the command.

        Raises:
          ModelLoadError: when the command fails, does not finish in time, or its output is too long.
        """
        output = self._folder / "output"
        self.run_into(output, arguments, seconds, given)
        if output.stat().st_size > _MOST_OUTPUT:
            raise ModelLoadError(f"git {arguments[0]} returned more than {_MOST_OUTPUT} bytes")
        return output.read_bytes()

    def run_into(
        self,
        output: Path,
        arguments: Sequence[str],
        seconds: float,
        given: bytes = b"",
        settings: Sequence[str] = (),
    ) -> None:
        """Like `run`, but with the output in a file, and with more settings of git, each as NAME=VALUE."""
        errors = self._folder / "errors"
        command = [*self._command(settings), *arguments]
        with output.open("wb") as out, errors.open("wb") as err:
            # In a session of its own, git has no terminal for prompts, and the processes that it starts end with it.
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=out, stderr=err, env=self._environment, start_new_session=True
            )
            try:
                process.communicate(given, timeout=seconds)
            except BaseException as error:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                if isinstance(error, subprocess.TimeoutExpired):
                    raise ModelLoadError(f"git {arguments[0]} did not finish within {seconds:.0f} s") from error
                raise
        if process.returncode != 0:
            raise ModelLoadError(f"git {arguments[0]} failed: {_reason(errors, process.returncode)}")

    def _command(self, more: Sequence[str]) -> list[str]:
        settings = [part for setting in (*_SETTINGS, *more) for part in ("-c", setting)]
        limited = ["/bin/sh", "-c", _LIMITED, "sh", str(LARGEST_FILE // _BLOCK)]
        return [*limited, self._git, "--git-dir", str(self.repository), "--literal-pathspecs", *settings]


def _environment(given: Mapping[str, str], protocol: str) -> dict[str, str]:
    kept = {name: value for name, value in given.items() if not _REMOVED.fullmatch(name)}
    configured = {name: value for name, value in kept.items() if _CONFIGURED.fullmatch(name)}
    return {
        **kept,
        **{name: str(value) for name, value in SECRETS.resolve(configured).items()},
        "GIT_ALLOW_PROTOCOL": protocol,
        "GIT_TERMINAL_PROMPT": "0",
        # Nothing is checked out; this is for the files that we request from Git LFS.
        "GIT_LFS_SKIP_SMUDGE": "0",
        "LC_ALL": "C",
    }


def _reason(errors: Path, status: int) -> str:
    with errors.open("rb") as file:
        text = file.read(SERVER_TEXT_LIMIT * 4).decode("utf-8", "replace")
    # A URL that the worker's own configuration has rewritten may contain its password.
    return clean_text(_PASSWORD.sub("//", text), SERVER_TEXT_LIMIT) or f"exit status {status}"
