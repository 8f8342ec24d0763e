"""Runs Java and Maven, which the local brokers and clusters need."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from models.errors import ServingError

END_OF_OUTPUT = 1500
# Lines that Maven adds to an error message: stack traces, empty lines, and hints on how to get more output.
_NOISE = re.compile(r"^(\s+at |\[ERROR\]\s*(To see|Re-run|For more|\[Help|Command execution failed|$))")


class JavaToolError(ServingError):
    """Java or Maven is missing or fails; the message names the component that needs it, and a remedy."""


def java(needed_by: str) -> str:
    """The path of the Java launcher.

    Args:
      needed_by: the component that needs Java, for the error message.

    Raises:
      JavaToolError: Java is not on PATH.
    """
    return _program("java", needed_by, "a Java runtime, 11 or newer (Debian: apt install default-jre-headless)")


def run_maven(arguments: Sequence[str], folder: Path, *, purpose: str, needed_by: str, seconds: float) -> None:
    """Runs Maven in `folder` and returns when it has finished.

    Args:
      arguments: goals and properties.
      folder: the folder with the pom.xml.
      purpose: the purpose of the run, for error messages: "download Kafka".
      needed_by: the component that needs Maven, for error messages.
      seconds: how long Maven may take.

    Raises:
      JavaToolError: Maven is missing, fails or takes too long.
    """
    maven = _program("mvn", needed_by, "Maven, 3.6 or newer (Debian: apt install maven)")
    command = [maven, "-q", "-B", "-Dstyle.color=never", *arguments]
    try:
        done = subprocess.run(
            command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds
        )
    except subprocess.TimeoutExpired:
        raise JavaToolError(f"Maven did not {purpose} within {seconds:.0f} s: check that `mvn` works.") from None
    if done.returncode != 0:
        raise JavaToolError(
            f"Maven could not {purpose}; check that its repository is reachable. "
            f"Its output: {_without_noise(done.stdout + done.stderr)}"
        )


def pom_property(pom: Path, name: str) -> str:
    """The value of a property in one of our poms.

    Raises:
      JavaToolError: the pom does not exist or does not have the property.
    """
    text = pom.read_text(encoding="utf-8") if pom.is_file() else ""
    match = re.search(rf"<{re.escape(name)}>(.+?)</{re.escape(name)}>", text)
    if match is None:
        raise JavaToolError(f"{pom} has no property {name}: use a complete checkout or installation of beam-serving.")
    return match[1]


def _without_noise(output: str) -> str:
    lines = [line for line in output.splitlines() if line.strip() and not _NOISE.match(line)]
    return "\n".join(lines)[-END_OF_OUTPUT:]


def _program(name: str, needed_by: str, what: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise JavaToolError(f"`{name}` is not on PATH, and {needed_by} needs it: install {what}.")
    return path
