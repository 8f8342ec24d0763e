"""Java and Maven, which some of what a laptop needs is made of."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from models.errors import ServingError

END_OF_OUTPUT = 1500
# What Maven adds to an error: stack traces, colours' ends, and how to see more of the same.
_NOISE = re.compile(r"^(\s+at |\[ERROR\]\s*(To see|Re-run|For more|\[Help|Command execution failed|$))")


class JavaToolError(ServingError):
    """A Java program that we start cannot be had; the message says what is missing for what, and the remedy."""


def java(needed_by: str) -> str:
    """The path of the Java launcher.

    Raises:
      JavaToolError: when there is none on PATH.
    """
    return _program("java", needed_by, "a Java runtime, 11 or newer (Debian: apt install default-jre-headless)")


def run_maven(arguments: Sequence[str], folder: Path, *, purpose: str, needed_by: str, seconds: float) -> None:
    """Runs Maven in `folder` and returns when it has done its work.

    Args:
      arguments: goals and properties.
      folder: where the pom.xml is.
      purpose: what Maven is to do, for the messages: "fetch Kafka".
      needed_by: what cannot run without.
      seconds: how long it may take.

    Raises:
      JavaToolError: when Maven is missing, fails or takes too long.
    """
    maven = _program("mvn", needed_by, "Maven, 3.6 or newer (Debian: apt install maven)")
    command = [maven, "-q", "-B", "-Dstyle.color=never", *arguments]
    try:
        done = subprocess.run(
            command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds
        )
    except subprocess.TimeoutExpired:
        raise JavaToolError(f"Maven did not {purpose} within {seconds:.0f} s: see whether `mvn` works.") from None
    if done.returncode != 0:
        raise JavaToolError(
            f"Maven could not {purpose}; check that its repository can be reached. "
            f"It said: {_without_noise(done.stdout + done.stderr)}"
        )


def pom_property(pom: Path, name: str) -> str:
    """The value of a property in a pom of ours.

    Raises:
      JavaToolError: when the pom is not there or has no such property.
    """
    text = pom.read_text(encoding="utf-8") if pom.is_file() else ""
    match = re.search(rf"<{re.escape(name)}>(.+?)</{re.escape(name)}>", text)
    if match is None:
        raise JavaToolError(f"{pom} has no property {name}: take a complete checkout or installation of beam-serving.")
    return match[1]


def _without_noise(output: str) -> str:
    said = [line for line in output.splitlines() if line.strip() and not _NOISE.match(line)]
    return "\n".join(said)[-END_OF_OUTPUT:]


def _program(name: str, needed_by: str, what: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise JavaToolError(f"`{name}` is not on PATH, and {needed_by} needs it: install {what}.")
    return path
