"""Flink for the local cluster: the jars that its project publishes for Python, downloaded once into our cache.

The package apache-flink-libraries contains lib/ and plugins/, which is all we need of a distribution.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from models.errors import ServingError
from runners.flink.jars import SOURCES
from runners.local.cache_folder import announce, cache_folder, locked
from runners.local.java_tools import JavaToolError, pom_property

FETCH_SECONDS = 900.0
PACKAGE = "apache-flink-libraries"
KEPT = ("lib", "plugins")


class FlinkDistributionError(ServingError):
    """Flink's jars cannot be downloaded; the message names a remedy."""


def flink_distribution() -> Path:
    """The folder with Flink's lib/ and plugins/; downloads them (230 MB) if they are not in the cache.

    Safe to call from several processes at once. The version is defined in flink/job-server/pom.xml.

    Raises:
      FlinkDistributionError: the application does not run from a checkout, or pip fails to download.
    """
    pom = SOURCES / "pom.xml"
    if not pom.is_file():
        raise FlinkDistributionError(
            f"The Flink version of the local cluster is defined in {pom}, which does not exist: "
            "run from a checkout of beam-serving."
        )
    version = pom_property(pom, "flink.distribution.version")
    folder = cache_folder("flink", version)
    if not folder.is_dir():
        with locked(folder.with_name(f"{version}.lock"), f"downloading Flink {version}"):
            if not folder.is_dir():
                _fetch(version, folder)
    return folder


def _fetch(version: str, folder: Path) -> None:
    announce(f"Downloading Flink {version} with pip (230 MB, only once)")
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        _download(version, Path(temporary))
        archive = next(Path(temporary).glob("*.tar.gz"))
        unpacked = Path(temporary, "unpacked")
        with tarfile.open(archive) as opened:
            prefixes = tuple(f"{archive.name.removesuffix('.tar.gz')}/deps/{part}/" for part in KEPT)
            members = [member for member in opened if member.name.startswith(prefixes)]
            opened.extractall(unpacked, members=members, filter="data")
        root = unpacked / archive.name.removesuffix(".tar.gz") / "deps"
        for part in KEPT:
            if not (root / part).is_dir():
                raise FlinkDistributionError(
                    f"{PACKAGE} {version} does not contain {part}: set another version in the pom."
                )
        shutil.move(root, folder)


def _download(version: str, folder: Path) -> None:
    """Downloads the source distribution, which contains the jars, without installing anything."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    wanted = ["--no-binary", PACKAGE, "--dest", str(folder), f"{PACKAGE}=={version}"]
    try:
        done = subprocess.run(
            [*command, *wanted], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=FETCH_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise FlinkDistributionError(
            f"pip did not download {PACKAGE} {version} within {FETCH_SECONDS:.0f} s: check that `pip download` works."
        ) from None
    if done.returncode != 0:
        raise FlinkDistributionError(
            f"pip could not download {PACKAGE} {version}; check that its index is reachable and that this environment "
            f"has pip. Its output: {(done.stdout + done.stderr).strip()[-800:]}"
        )


def main() -> int:
    """Prints the path of the folder, after downloading it if necessary, and returns the exit status."""
    try:
        print(flink_distribution())
    except (FlinkDistributionError, JavaToolError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
