"""The jars of the local Kafka broker: fetched once by Maven, kept outside the source tree."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from importlib.resources import files
from pathlib import Path

from models.errors import ServingError
from runners.cache_folder import announce, cache_folder, locked

FETCH_SECONDS = 600.0


class KafkaToolError(ServingError):
    """Something that the local Kafka broker is made of is missing; the message names it and the remedy."""


def java() -> str:
    """The path of the Java launcher.

    Raises:
      KafkaToolError: when there is none on PATH.
    """
    return _program("java", "a Java runtime, 11 or newer (Debian: apt install default-jre-headless)")


def kafka_jars() -> Path:
    """The folder with the broker's jars; fetches them when they are not there yet (about ten seconds).

    Safe to call from several processes at once.

    Raises:
      KafkaToolError: when they have to be fetched and Maven is missing or fails.
    """
    pom = files("runners").joinpath("kafka", "pom.xml").read_text(encoding="utf-8")
    folder = cache_folder("kafka", kafka_version(pom))
    if _fetched_by(folder) == pom:
        return folder
    with locked(folder.with_name(f"{folder.name}.lock"), f"fetching Kafka {folder.name}"):
        if _fetched_by(folder) != pom:
            _fetch(pom, folder)
    return folder


def kafka_version(pom: str) -> str:
    """The version of Kafka that the text of our pom names."""
    match = re.search(r"<kafka\.version>(.+?)</kafka\.version>", pom)
    if match is None:
        raise KafkaToolError("runners/kafka/pom.xml has no property kafka.version: install beam-serving anew.")
    return match[1]


def _fetched_by(folder: Path) -> str | None:
    """The pom that filled the folder: a copy of it is written with the jars, so that a changed pom fetches anew."""
    copy = folder / "pom.xml"
    return copy.read_text(encoding="utf-8") if copy.is_file() else None


def _fetch(pom: str, folder: Path) -> None:
    maven = _program("mvn", "Maven, 3.6 or newer (Debian: apt install maven), which fetches Kafka once")
    announce(f"Fetching Kafka {folder.name} with Maven: ten seconds or so, once")
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        fresh = Path(temporary, folder.name)
        fresh.mkdir()
        (fresh / "pom.xml").write_text(pom, encoding="utf-8")
        _run_maven([maven, "-q", "-B", "dependency:copy-dependencies", f"-DoutputDirectory={fresh}"], fresh)
        shutil.rmtree(folder, ignore_errors=True)
        fresh.replace(folder)


def _run_maven(command: list[str], folder: Path) -> None:
    try:
        done = subprocess.run(
            command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=FETCH_SECONDS
        )
    except subprocess.TimeoutExpired as late:
        raise KafkaToolError(
            f"Maven did not fetch Kafka within {late.timeout:.0f} s: see whether `mvn` works."
        ) from None
    if done.returncode != 0:
        said = (done.stdout + done.stderr).strip()[-800:]
        raise KafkaToolError(f"Maven could not fetch Kafka; check that its repository can be reached. It said: {said}")


def _program(name: str, what: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise KafkaToolError(f"`{name}` is not on PATH, and the local Kafka broker needs it: install {what}.")
    return path
