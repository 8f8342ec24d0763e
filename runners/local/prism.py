"""Finds, downloads or builds Prism, Beam's local runner: a Go program of exactly the version of the installed Beam.

The sources, in this order: a given path, our cache, Beam's release page, and a build with Go.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
import zipfile
from pathlib import Path

from models.errors import ServingError
from runners.local.cache_folder import announce, cache_folder, locked
from runners.local.process_guard import ProcessGuard

GO_PACKAGE = "github.com/apache/beam/sdks/v2/go/cmd/prism"
DOWNLOAD_SECONDS = 300.0
BUILD_SECONDS = 1200.0
BUILD_REPORT_SECONDS = 15.0
CHUNK_BYTES = 1 << 20


class PrismUnavailableError(ServingError):
    """Prism can be neither found, downloaded nor built; the message names a remedy."""


def locate_prism(given: str | Path | None = None, *, network_timeout: float = 10.0) -> Path:
    """The Prism binary of the installed Beam version, downloaded or built (up to two minutes) if it is not cached.

    Safe to call from several processes at once: one of them does the work while the others wait.

    Args:
      given: an executable file to use instead.
      network_timeout: how many seconds the release page may be silent before the download is abandoned.

    Raises:
      PrismUnavailableError: `given` is not executable, or neither download nor build succeeds.
    """
    if given is not None:
        return _given_binary(Path(given))
    version = importlib.metadata.version("apache-beam")
    binary = cached_binary(version)
    if _is_executable(binary):
        return binary
    with locked(binary.with_name("lock"), f"getting Prism {version}"):
        if not _is_executable(binary):
            _get(version, binary, network_timeout)
    return binary


def cached_binary(version: str) -> Path:
    """The path in our cache of the Prism for the Beam `version`; the binary may not exist yet."""
    return cache_folder("prism", version, "prism")


def _given_binary(path: Path) -> Path:
    if not _is_executable(path):
        raise PrismUnavailableError(
            f"The Prism location {path} is not an executable file: pass the prism binary, or omit the option."
        )
    return path.absolute()


def _is_executable(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)


def _get(version: str, binary: Path, network_timeout: float) -> None:
    """Downloads or builds in a temporary folder and renames the binary, so that it is never incomplete."""
    with tempfile.TemporaryDirectory(dir=binary.parent) as folder:
        try:
            found = _download(version, Path(folder), network_timeout)
        except (OSError, ValueError, zipfile.BadZipFile, KeyError) as refusal:
            announce(f"Prism {version} cannot be downloaded ({refusal}); building it with Go")
            found = _build(version, Path(folder), str(refusal), binary)
        found.chmod(0o755)
        found.replace(binary)
    announce(f"Prism {version} is in {binary}")


def download_url(version: str) -> str:
    """The URL from which Beam itself downloads the Prism of `version` on this kind of machine.

    Raises:
      ValueError: Beam does not release Prism for this operating system or processor.
    """
    # Imported here because only this function needs Beam, whose import takes seconds.
    from apache_beam.options.pipeline_options import PipelineOptions
    from apache_beam.runners.portability.prism_runner import PrismJobServer

    server = PrismJobServer(PipelineOptions([]))
    return str(server.construct_download_url(f"v{version}", platform.system(), platform.machine()))


def _download(version: str, folder: Path, network_timeout: float) -> Path:
    # Not Beam's own download, which waits forever for a host that does not answer; this one has a timeout.
    url = download_url(version)
    announce(f"Downloading {url}")
    archive = folder / "prism.zip"
    _fetch(url, archive, network_timeout)
    member = Path(url).stem
    with zipfile.ZipFile(archive) as opened:
        return Path(opened.extract(member, folder))


def _fetch(url: str, target: Path, network_timeout: float) -> None:
    deadline = time.monotonic() + DOWNLOAD_SECONDS
    # A new opener reads the current proxy settings; the library's shared one keeps those of its first use.
    with urllib.request.build_opener().open(url, timeout=network_timeout) as response, target.open("wb") as file:
        while chunk := response.read1(CHUNK_BYTES):
            file.write(chunk)
            if time.monotonic() > deadline:
                raise TimeoutError(f"not finished after {DOWNLOAD_SECONDS:.0f} s")


def _build(version: str, folder: Path, refusal: str, binary: Path) -> Path:
    go = shutil.which("go")
    if go is None:
        raise PrismUnavailableError(_remedy(version, binary, f"download: {refusal}; go: not on PATH"))
    announce(f"Building Prism {version} with {go} (one to two minutes, only once)")
    log = folder / "go.log"
    exit_code = _run_reporting([go, "install", f"{GO_PACKAGE}@v{version}"], folder, log)
    if exit_code != 0 or not _is_executable(folder / "prism"):
        output = log.read_text(errors="replace").strip()[-500:]
        raise PrismUnavailableError(_remedy(version, binary, f"download: {refusal}; go install: {output}"))
    return folder / "prism"


def _run_reporting(command: list[str], folder: Path, log: Path) -> int:
    """Runs the build with its output in `log`, reports every few seconds, and returns the exit code."""
    started = time.monotonic()
    environment = {**os.environ, "GOBIN": str(folder)}
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            while not _ends_within(process, BUILD_REPORT_SECONDS):
                elapsed = time.monotonic() - started
                announce(f"  still building, {elapsed:.0f} s")
                if elapsed > BUILD_SECONDS:
                    output.write(f"stopped after {elapsed:.0f} s".encode())
                    return 1
            return process.returncode
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


def _ends_within(process: subprocess.Popen[bytes], seconds: float) -> bool:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def _remedy(version: str, binary: Path, reasons: str) -> str:
    return (
        f"Prism {version}, Beam's local runner, is not available ({reasons}): install a current Go and try again, "
        f"or put the prism binary of Beam's release {version} at {binary}, or pass one with --prism_location."
    )


def guard_prism() -> None:
    """Makes sure that the Prism that Beam started for this process does not outlive it.

    Beam stops Prism only when Python exits normally, and does not expose its process, so this looks into Beam's private
    cache of subprocesses.
    """
    from apache_beam.utils.subprocess_server import SubprocessServer

    for entry in SubprocessServer._cache._cache.values():
        process, _ = entry.obj
        if process.pid not in _guards:
            _guards[process.pid] = ProcessGuard(process.pid)


_guards: dict[int, ProcessGuard] = {}


def main() -> int:
    """Prints the path of the binary, after getting it if necessary, and returns the exit status."""
    try:
        print(locate_prism())
    except PrismUnavailableError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
