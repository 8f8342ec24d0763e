"""Flink itself, for the local cluster: the jars that its project publishes for Python, fetched once into our cache.

The package apache-flink-libraries has lib/ and plugins/; what else a distribution has (scripts, a conf/) we do without.
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
    """Flink's jars cannot be fetched; the message says what to do."""


def flink_distribution() -> Path:
    """The folder with Flink's lib/ and plugins/; fetches them when they are not there yet (230 MB).

    Safe to call from several processes at once. The version stands in flink/job-server/pom.xml.

    Raises:
      FlinkDistributionError: when this is no checkout, or when they have to be fetched and pip fails.
    """
    pom = SOURCES / "pom.xml"
    if not pom.is_file():
        raise FlinkDistributionError(
            f"Which Flink the local cluster runs stands in {pom}, which is not there: "
            "run from a checkout of beam-serving."
        )
    version = pom_property(pom, "flink.distribution.version")
    folder = cache_folder("flink", version)
    if not folder.is_dir():
        with locked(folder.with_name(f"{version}.lock"), f"fetching Flink {version}"):
            if not folder.is_dir():
                _fetch(version, folder)
    return folder


def _fetch(version: str, folder: Path) -> None:
    announce(f"Fetching Flink {version} with pip: 230 MB, once")
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
                    f"{PACKAGE} {version} has no folder {part}: name another version in the pom."
                )
        shutil.move(root, folder)


def _download(version: str, folder: Path) -> None:
    """Fetches the source distribution, which holds the jars; nothing is installed."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    wanted = ["--no-binary", PACKAGE, "--dest", str(folder), f"{PACKAGE}=={version}"]
    try:
        done = subprocess.run(
            [*command, *wanted], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=FETCH_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise FlinkDistributionError(
            f"pip did not fetch {PACKAGE} {version} within {FETCH_SECONDS:.0f} s: see whether `pip download` works."
        ) from None
    if done.returncode != 0:
        raise FlinkDistributionError(
            f"pip could not fetch {PACKAGE} {version}; check that its index can be reached, and that this environment "
            f"has pip. It said: {(done.stdout + done.stderr).strip()[-800:]}"
        )


def main() -> int:
    """Prints the path of the folder, fetching it first when it is not there."""
    try:
        print(flink_distribution())
    except (FlinkDistributionError, JavaToolError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
