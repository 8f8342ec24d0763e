"""The jars of the local Kafka broker, downloaded once by Maven and kept outside the source tree."""

from __future__ import annotations

import shutil
import tempfile
from importlib.resources import as_file, files
from pathlib import Path

from runners.local.cache_folder import announce, cache_folder, locked
from runners.local.java_tools import pom_property, run_maven

FETCH_SECONDS = 600.0
NEEDED_BY = "the local Kafka broker"


def kafka_jars() -> Path:
    """The folder with the broker's jars; downloads them (about ten seconds) if they are not in the cache.

    Safe to call from several processes at once.

    Raises:
      JavaToolError: the jars have to be downloaded, and Maven is missing or fails.
    """
    with as_file(files("runners.local").joinpath("kafka", "pom.xml")) as path:
        version = pom_property(path, "kafka.version")
        pom = path.read_text(encoding="utf-8")
    folder = cache_folder("kafka", version)
    if _fetched_by(folder) == pom:
        return folder
    with locked(folder.with_name(f"{folder.name}.lock"), f"downloading Kafka {folder.name}"):
        if _fetched_by(folder) != pom:
            _fetch(pom, folder)
    return folder


def _fetched_by(folder: Path) -> str | None:
    """The copy of the pom that the jars in the folder come from; jars of another pom are replaced."""
    copy = folder / "pom.xml"
    return copy.read_text(encoding="utf-8") if copy.is_file() else None


def _fetch(pom: str, folder: Path) -> None:
    announce(f"Downloading Kafka {folder.name} with Maven (about ten seconds, only once)")
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        fresh = Path(temporary, folder.name)
        fresh.mkdir()
        (fresh / "pom.xml").write_text(pom, encoding="utf-8")
        goal = ["dependency:copy-dependencies", f"-DoutputDirectory={fresh}"]
        run_maven(goal, fresh, purpose="download Kafka", needed_by=NEEDED_BY, seconds=FETCH_SECONDS)
        shutil.rmtree(folder, ignore_errors=True)
        fresh.replace(folder)
