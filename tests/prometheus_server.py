"""A real Prometheus, from Debian's package, which is unpacked into the cache and not installed.

with running(folder, {"pipeline": "127.0.0.1:9400"}) as prometheus:
    prometheus.eventually("beam_serving_records_total > 0")
"""

from __future__ import annotations

import json
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from models.cache_folder import cache_folder
from runners.local.cache_folder import locked
from runners.local.free_ports import free_port
from runners.local.server_process import ServerProcess
from tests.http_server import wait_until_served

_START_SECONDS = 60.0


@dataclass(frozen=True)
class Sample:
    """One value of a query: the labels of its series, and the value."""

    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True)
class Prometheus:
    """A running server, at `url`."""

    url: str

    def query(self, expression: str) -> list[Sample]:
        """The values of an expression now."""
        found = self._get("query", query=expression)["data"]
        if found["resultType"] == "scalar":
            return [Sample({}, float(found["result"][1]))]
        return [Sample(one["metric"], float(one["value"][1])) for one in found["result"]]

    def eventually(self, expression: str, seconds: float = 60.0) -> list[Sample]:
        """Waits until an expression has values, and returns them."""
        deadline = time.monotonic() + seconds
        while not (found := self.query(expression)):
            if time.monotonic() > deadline:
                raise AssertionError(f"{expression} had no value for {seconds:g} s; there are {self.names()}")
            time.sleep(0.5)
        return found

    def names(self) -> list[str]:
        """The names of all metrics."""
        names: list[str] = self._get("label/__name__/values")["data"]
        return names

    def rules(self) -> list[dict[str, Any]]:
        """The rules of all groups, with their health after the last evaluation."""
        return [rule for group in self._get("rules")["data"]["groups"] for rule in group["rules"]]

    def _get(self, path: str, **parameters: str) -> dict[str, Any]:
        query = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{query}", timeout=30) as answer:
            found: dict[str, Any] = json.load(answer)
        return found


@contextmanager
def running(
    folder: Path,
    targets: Mapping[str, str],
    rules: Sequence[Path] = (),
    relabelings: Sequence[Mapping[str, Any]] = (),
) -> Iterator[Prometheus]:
    """Runs Prometheus.

    Args:
      folder: for its data, its configuration and its log.
      targets: what it scrapes each second, as HOST:PORT by the name of the job.
      rules: files of rules, evaluated each second.
      relabelings: what it does to the names and labels of scraped metrics.
    """
    scraped = [
        {
            "job_name": job,
            "static_configs": [{"targets": [target]}],
            "metric_relabel_configs": [dict(one) for one in relabelings],
        }
        for job, target in targets.items()
    ]
    configuration = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(path) for path in rules],
        "scrape_configs": scraped,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    port = free_port()
    command = [
        str(_program()),
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    server = ServerProcess(command, folder / "prometheus.log")
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until_served(server, f"{url}/-/ready", _START_SECONDS)
        yield Prometheus(url)
    finally:
        server.stop(10.0)


def _program() -> Path:
    """The program, from the cache or downloaded into it (30 MB)."""
    folder = cache_folder() / "prometheus"
    program = folder / "usr" / "bin" / "prometheus"
    with locked(folder.with_suffix(".lock"), "unpacking Prometheus"):
        if not program.exists():
            folder.mkdir(parents=True, exist_ok=True)
            for package in folder.glob("*.deb"):
                package.unlink()
            _run(["apt-get", "download", "prometheus"], folder)
            (package,) = folder.glob("prometheus_*.deb")
            _run(["dpkg-deb", "-x", str(package), str(folder)], folder)
            package.unlink()
    return program


def _run(command: Sequence[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode and command[0] == "apt-get":
        subprocess.run(["apt-get", "update", "-qq"], check=True, capture_output=True)
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
