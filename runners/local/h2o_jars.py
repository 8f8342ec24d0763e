"""The jars that score MOJO files of H2O: `python -m runners.local.h2o_jars` collects them and prints their folder.

Maven downloads genmodel and compiles our class. Workers without Maven get a copy of the folder, for example in their
image, where the variable BEAM_SERVING_H2O_JARS names it.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from models.errors import JarsMissingError
from models.scorers.h2o_mojo.jars import (
    KEY_FILE,
    OUR_JAR,
    SOURCES,
    cached_folder,
    checked_jars,
    expected_digests,
    source_files,
    sources_key,
)
from runners.local.cache_folder import announce, locked
from runners.local.java_tools import JavaToolError, run_maven

BUILD_SECONDS = 600.0
NEEDED_BY = "the model type h2o-mojo"


def h2o_jars() -> Path:
    """The folder in our cache with the jars, which are downloaded and built if they are not there (about ten seconds).

    Safe to call from several processes at once.

    Raises:
      JavaToolError: something has to be built, and Maven is missing or fails.
      JarsMissingError: a downloaded jar differs from the expected one.
    """
    folder = cached_folder()
    if not _is_usable(folder):
        with locked(folder.with_name(f"{folder.name}.lock"), "downloading H2O's genmodel"):
            if not _is_usable(folder):
                _build(folder)
    return folder


def _is_usable(folder: Path) -> bool:
    try:
        checked_jars(folder)
    except JarsMissingError:
        return False
    return True


def _build(folder: Path) -> None:
    announce("Downloading H2O's genmodel with Maven (about ten seconds, only once)")
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        project, fresh = Path(temporary, "project"), Path(temporary, "jars")
        for path in source_files():
            copy = project / path.relative_to(SOURCES)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
        purpose = "build the jars of H2O"
        run_maven(["package"], project, purpose=purpose, needed_by=NEEDED_BY, seconds=BUILD_SECONDS)
        fresh.mkdir()
        for name in (OUR_JAR, *expected_digests()):
            shutil.copyfile(project / "target" / name, fresh / name)
        (fresh / KEY_FILE).write_text(sources_key(), encoding="ascii")
        checked_jars(fresh)
        shutil.rmtree(folder, ignore_errors=True)
        fresh.replace(folder)


def main() -> int:
    """Prints the folder of the jars, after building them if necessary, and returns the exit status."""
    try:
        print(h2o_jars())
    except (JarsMissingError, JavaToolError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
