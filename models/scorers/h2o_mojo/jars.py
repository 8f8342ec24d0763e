"""Finds and checks the jars of H2O's genmodel and of our class that calls it.

`python -m runners.local.h2o_jars` collects them. A worker never downloads any.
"""

from __future__ import annotations

import hashlib
import os
from functools import cache
from pathlib import Path

from models.cache_folder import cache_folder
from models.errors import JarsMissingError

SOURCES = Path(__file__).parent / "java"
OUR_JAR = "h2o-batches.jar"
# The variable that names the folder of the jars if they are not in the cache.
FOLDER_VARIABLE = "BEAM_SERVING_H2O_JARS"
# The file in that folder with the digest of the sources from which our jar was built.
KEY_FILE = "sources.sha256"
REMEDY = (
    "run `python -m runners.local.h2o_jars` where Maven is installed, copy the folder that it prints to wherever "
    f"workers run, and set {FOLDER_VARIABLE} to its path there"
)


def jar_folder() -> Path:
    """The folder of the jars, which may not exist yet: the one that the environment names, or the one in our cache."""
    named = os.environ.get(FOLDER_VARIABLE)
    return Path(named) if named else cached_folder()


def cached_folder() -> Path:
    """The folder in our cache, which may not exist yet."""
    return cache_folder("h2o-mojo", sources_key()[:16])


def usable_jars() -> tuple[Path, ...]:
    """The jars, checked.

    Raises:
      JarsMissingError: a jar is missing or has another digest, or ours was built by another version of beam-serving.
    """
    return checked_jars(jar_folder())


def checked_jars(folder: Path) -> tuple[Path, ...]:
    """The jars in a folder; raises the same errors as `usable_jars`."""
    for name, digest in expected_digests().items():
        _check_digest(folder / name, digest)
    ours, key = folder / OUR_JAR, folder / KEY_FILE
    if not ours.is_file() or not key.is_file() or key.read_text(encoding="ascii", errors="replace") != sources_key():
        raise JarsMissingError(f"{ours} is missing, or belongs to another version of beam-serving; {REMEDY}")
    return (ours, *(folder / name for name in expected_digests()))


@cache
def expected_digests() -> dict[str, str]:
    """The SHA-256 of each jar of genmodel and of its dependencies, by file name."""
    lines = (SOURCES / "SHA256SUMS").read_text(encoding="ascii").splitlines()
    return {name: digest for digest, name in (line.split() for line in lines)}


@cache
def sources_key() -> str:
    """SHA-256 of everything from which our jar is built, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    for path in source_files():
        content = path.read_bytes()
        digest.update(f"{path.relative_to(SOURCES).as_posix()} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def source_files() -> list[Path]:
    """The source files, which the wheel also contains."""
    java = sorted((SOURCES / "src").rglob("*.java"))
    return [SOURCES / "SHA256SUMS", SOURCES / "pom.xml", *java]


def _check_digest(path: Path, digest: str) -> None:
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise JarsMissingError(f"{path} cannot be read: {error.strerror}; {REMEDY}") from error
    if found != digest:
        raise JarsMissingError(f"{path} has the digest {found}, but {digest} is expected; {REMEDY}")
