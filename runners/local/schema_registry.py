"""A real schema registry on this machine, for tests and development: Apicurio, with Confluent's interface.

`python -m runners.local.schema_registry` runs it in the foreground until Ctrl-C.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tarfile
import tempfile
import threading
import time
import urllib.request
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

from models.errors import ServingError
from runners.local.cache_folder import announce, cache_folder, locked
from runners.local.free_ports import HOST, free_port, is_free
from runners.local.java_tools import JavaToolError, java, pom_property, run_maven
from runners.local.server_process import ServerProcess, end_of_log
from runners.local.service import LocalService
from runners.local.signals import interrupted_by_signals

NEEDED_BY = "the local schema registry"
FETCH_SECONDS = 600.0
POLL_SECONDS = 0.1


class RegistryStartError(ServingError):
    """The local schema registry did not start; the message contains the end of its log."""


def registry_folder() -> Path:
    """The folder with the registry's program, which is downloaded on first use (109 MB).

    Safe to call from several processes at once.

    Raises:
      JavaToolError: it has to be downloaded, and Maven is missing or fails.
    """
    with as_file(files("runners.local").joinpath("apicurio", "pom.xml")) as path:
        version = pom_property(path, "apicurio.version")
        pom = path.read_text(encoding="utf-8")
    folder = cache_folder("schema-registry", version)
    with locked(folder.with_name(f"{folder.name}.lock"), "fetching the schema registry"):
        copy = folder / "pom.xml"
        if not copy.is_file() or copy.read_text(encoding="utf-8") != pom:
            _fetch(pom, version, folder)
    return folder


def _fetch(pom: str, version: str, folder: Path) -> None:
    announce("Downloading the schema registry (Apicurio) with Maven (about half a minute, only once)")
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        fresh = Path(temporary, folder.name)
        fresh.mkdir()
        (fresh / "pom.xml").write_text(pom, encoding="utf-8")
        # Without dependencies: the file contains them, and Maven's repository lacks some that its pom names.
        artifact = f"-Dartifact=io.apicurio:apicurio-registry-app:{version}:tar.gz:all"
        goal = ["dependency:copy", artifact, f"-DoutputDirectory={temporary}/archive"]
        run_maven(goal, fresh, purpose="fetch Apicurio", needed_by=NEEDED_BY, seconds=FETCH_SECONDS)
        (archive,) = Path(temporary, "archive").glob("*.tar.gz")
        with tarfile.open(archive) as content:
            content.extractall(fresh, filter="data")
        shutil.rmtree(folder, ignore_errors=True)
        fresh.replace(folder)


@dataclass(frozen=True)
class SchemaRegistrySettings:
    """The settings of a local registry.

    Attributes:
      port: the port for clients; None for a free port.
      work_folder: the folder for data and log; None for a temporary folder that `close` removes.
      start_seconds: how long the registry may take until it answers.
      stop_seconds: how long the registry may take to shut down before it is killed.
    """

    port: int | None = None
    work_folder: Path | None = None
    start_seconds: float = 90.0
    stop_seconds: float = 15.0


class LocalSchemaRegistry(LocalService):
    """A registry process with its data.

    Life cycle: `start` returns when the registry answers. After `stop`, `start` brings it back on the same port with
    the same data. `close` ends it for good and removes a temporary work folder. As a context manager it starts and
    closes. The process never outlives this one. Not thread-safe.
    """

    def __init__(self, settings: SchemaRegistrySettings | None = None) -> None:
        self._settings = settings or SchemaRegistrySettings()
        super().__init__(self._settings.work_folder, "beam-serving-registry-")
        self._process: ServerProcess | None = None
        self._port = self._settings.port or free_port()

    @property
    def url(self) -> str:
        """The address of Confluent's interface, which is the same after a restart."""
        return f"http://{HOST}:{self._port}/apis/ccompat/v7"

    @property
    def running(self) -> bool:
        """Whether the registry's process runs."""
        return self._process is not None and self._process.running

    def start(self) -> None:
        """Starts the registry and returns when it answers. Does nothing if it runs.

        Raises:
          JavaToolError: Java is missing, or Maven is missing at the first use.
          RegistryStartError: the port is in use, or the registry ends or does not answer in time.
        """
        if self.running:
            return
        if not is_free(self._port):
            raise RegistryStartError(
                f"Port {self._port} is in use: stop its server, or choose another port with --port."
            )
        launcher, program = java(NEEDED_BY), registry_folder()
        (jar,) = program.glob("*-runner.jar")
        self.work_folder.mkdir(parents=True, exist_ok=True)
        machine = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx384m"]
        self._process = ServerProcess([launcher, *machine, "-jar", str(jar)], self._log, self._environment())
        if not self._answers():
            self._end(in_order=False)
            raise RegistryStartError(f"The local schema registry did not start at {self.url}:\n{end_of_log(self._log)}")

    def stop(self) -> None:
        """Shuts the registry down. Does nothing if it does not run."""
        self._end(in_order=True)

    def _end(self, *, in_order: bool) -> None:
        if self._process is not None:
            self._process.stop(self._settings.stop_seconds) if in_order else self._process.kill()
            self._process = None

    @property
    def _log(self) -> Path:
        return self.work_folder / "registry.log"

    def _environment(self) -> dict[str, str]:
        return {
            "QUARKUS_HTTP_HOST": HOST,
            "QUARKUS_HTTP_PORT": str(self._port),
            "QUARKUS_LOG_LEVEL": "WARN",
            "QUARKUS_HTTP_ACCESS_LOG_ENABLED": "false",
            # The data is in a file, so that a restart keeps the schemas and their ids.
            "APICURIO_DATASOURCE_URL": f"jdbc:h2:file:{self.work_folder}/data;DB_CLOSE_ON_EXIT=FALSE",
        }

    def _answers(self) -> bool:
        """Waits until the registry lists its subjects; False if it ends or does not answer in time."""
        deadline = time.monotonic() + self._settings.start_seconds
        while self.running and time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"{self.url}/subjects", timeout=5.0):
                    return True
            except OSError:
                time.sleep(POLL_SECONDS)
        return False


def main(arguments: list[str] | None = None) -> int:
    """Runs a schema registry until Ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m runners.local.schema_registry", description=main.__doc__)
    parser.add_argument("--port", type=int, default=8081, help="the port for clients (default: 8081)")
    parser.add_argument("--work-folder", type=Path, help="the folder for data and log (default: a temporary folder)")
    options = parser.parse_args(arguments)
    settings = SchemaRegistrySettings(options.port, options.work_folder)
    try:
        with interrupted_by_signals(), LocalSchemaRegistry(settings) as registry:
            print(
                f"Schema registry: {registry.url}\nData and log: {registry.work_folder}\nCtrl-C stops it.", flush=True
            )
            never = threading.Event()
            while registry.running:
                never.wait(1.0)
            print("The schema registry ended on its own.", file=sys.stderr)
            return 1
    except (JavaToolError, RegistryStartError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0


if __name__ == "__main__":
    sys.exit(main())
