"""The job server that submits a pipeline to Flink: one jar, built once by Maven and kept outside the source tree.

Its sources are in flink/job-server of a checkout. The wheel does not include them, because it is meant for workers,
which do not need the jar. Without a checkout, users pass an existing jar.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from models.errors import ServingError
from runners.local.cache_folder import announce, cache_folder, locked
from runners.local.java_tools import JavaToolError, run_maven

SOURCES = Path(__file__).resolve().parents[2] / "flink" / "job-server"
JAR_NAME = "beam-flink-job-server.jar"
BUILD_SECONDS = 1800.0
# A class of Beam, and a name that stands in it only if it calls our fix.
_FIXED_CLASS = "org/apache/beam/runners/flink/translation/wrappers/streaming/ExecutableStageDoFnOperator.class"
_FIX = b"streaming/BundleEnd"
NEEDED_BY = "Flink's job server"


class JobServerUnavailableError(ServingError):
    """The jar of Flink's job server does not exist and cannot be built; the message names a remedy."""


def job_server_jar(given: str | None = None, *, beam_fixes: bool = True) -> str:
    """The job-server jar as a value for Beam's option --flink_job_server_jar: a path, or the given URL.

    Builds our jar if it is not in the cache. This takes half a minute, or some minutes if Maven has to download Beam
    and Flink first. Safe to call from several processes at once.

    Args:
      given: the user's own jar to use instead of ours: a file, or the URL of an official one (http:, gs:, ...).
      beam_fixes: whether the jar includes our fixes to Beam's classes; only their test leaves them out.

    Raises:
      JobServerUnavailableError: the given file does not exist, or our jar is not built and its sources are missing.
      JavaToolError: the jar has to be built, and Maven is missing or fails.
    """
    if given is not None:
        return _given_jar(given)
    if not (SOURCES / "pom.xml").is_file():
        raise JobServerUnavailableError(
            f"Flink's job server is built from {SOURCES}, which does not exist: run from a checkout of beam-serving, "
            "or pass a job-server jar with --flink_job_server_jar."
        )
    jar = cached_jar(beam_fixes=beam_fixes)
    if not jar.is_file():
        with locked(jar.parent.with_name(f"{jar.parent.name}.lock"), "building Flink's job server"):
            if not jar.is_file():
                _build(jar, beam_fixes=beam_fixes)
    return str(jar)


def has_beam_fixes(jar: str) -> bool:
    """Whether a jar that `job_server_jar` named includes our fixes to Beam's classes; False for a URL."""
    try:
        with zipfile.ZipFile(jar) as contents:
            return _FIX in contents.read(_FIXED_CLASS)
    except (OSError, KeyError, zipfile.BadZipFile):
        return False


def cached_jar(*, beam_fixes: bool = True) -> Path:
    """The path in our cache of the jar built from the current sources; the jar may not exist yet."""
    key = _sources_key()
    return cache_folder("flink-job-server", key if beam_fixes else f"{key}-without-fixes", JAR_NAME)


def _given_jar(given: str) -> str:
    if "://" in given:
        return given
    path = Path(given)
    if not path.is_file():
        raise JobServerUnavailableError(
            f"The job-server jar {given} does not exist: pass a file or a URL with --flink_job_server_jar, "
            "or omit the option to have the jar built."
        )
    return str(path.absolute())


def _source_files() -> Iterator[Path]:
    yield SOURCES / "pom.xml"
    yield from sorted(path for path in (SOURCES / "src").rglob("*") if path.is_file())


def _sources_key() -> str:
    digest = hashlib.sha256()
    for path in _source_files():
        content = path.read_bytes()
        digest.update(f"{path.relative_to(SOURCES).as_posix()} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()[:16]


def _build(jar: Path, *, beam_fixes: bool) -> None:
    announce("Building Flink's job server with Maven (half a minute; some minutes the first time)")
    fix = f"-Dbeam.fixes={str(beam_fixes).lower()}"
    # Builds a copy, so that the checkout stays clean and two concurrent builds do not interfere.
    with tempfile.TemporaryDirectory(dir=jar.parent.parent) as temporary:
        for path in _source_files():
            copy = Path(temporary, path.relative_to(SOURCES))
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
        purpose = "build Flink's job server"
        run_maven(["package", fix], Path(temporary), purpose=purpose, needed_by=NEEDED_BY, seconds=BUILD_SECONDS)
        jar.parent.mkdir(exist_ok=True)
        Path(temporary, "target", JAR_NAME).replace(jar)


def main() -> int:
    """Prints the path of the jar, after building it if necessary, and returns the exit status."""
    try:
        print(job_server_jar())
    except (JobServerUnavailableError, JavaToolError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
