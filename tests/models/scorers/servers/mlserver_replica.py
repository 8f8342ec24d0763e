"""Starts a real MLServer, in an environment of its own, as processes with the models of `mlserver_models.py`.

replica = start(tmp_path)
replica.wait_until_ready()
location = f"grpc://127.0.0.1:{replica.grpc_port}/adder"
replica.process.kill()
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runners.local.free_ports import free_port
from runners.local.server_process import ServerProcess
from tests.models.scorers.servers.server_environment import server_environment

FOLDER = Path(__file__).parent
START_SECONDS = 90.0

Tensors = list[dict[str, Any]]


def tensor(name: str, datatype: str, *shape: int) -> dict[str, Any]:
    """An input or output as MLServer's settings, and the protocol's metadata, describe it."""
    return {"name": name, "datatype": datatype, "shape": list(shape)}


X = [tensor("x", "FP32", -1)]
Y = [tensor("y", "FP32", -1)]
KINDS = [
    tensor("text", "BYTES", -1),
    tensor("whole", "INT64", -1, 2),
    tensor("short", "UINT8", -1),
    tensor("real", "FP64", -1),
    tensor("flag", "BOOL", -1),
]


@dataclass(frozen=True)
class Replica:
    """A server process and its ports."""

    process: ServerProcess
    grpc_port: int
    rest_port: int

    def wait_until_ready(self) -> None:
        """Returns when the server and its models are ready; fails when the process ended before, or takes too long."""
        end = time.monotonic() + START_SECONDS
        while not self._ready():
            assert self.process.running, self.process.log_end()
            assert time.monotonic() < end, self.process.log_end()
            time.sleep(0.1)

    def calls(self) -> list[dict[str, Any]]:
        """The calls of `adder` so far."""
        calls: list[dict[str, Any]] = self._test("calls")
        return calls

    def behave(self, *, delay: float = 0.0) -> None:
        """Makes the following calls of `adder` take so many seconds."""
        self._test(f"behaviour?delay={delay}")

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """The process does nothing for this block, but its connections stay open."""
        os.kill(self.process.process_id, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.process.process_id, signal.SIGCONT)

    def _ready(self) -> bool:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{self.rest_port}/v2/health/ready", timeout=5).close()
        except (urllib.error.URLError, OSError):
            return False
        return True

    def _test(self, path: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.rest_port}/test/{path}", b"", timeout=10) as response:
            return json.load(response)


def start(folder: Path, *, load_seconds: float = 0.0) -> Replica:
    """Starts a process and does not wait for it; the caller kills it.

    Args:
      folder: an empty one, for models, settings and log.
      load_seconds: how long the models `adder` take to load.
    """
    extra = {"load_seconds": load_seconds}
    for version in ("v3", "1", "2"):
        _save(folder / f"adder-{version}", "adder", "Adder", version=version, inputs=X, outputs=Y, extra=extra)
    _save(folder / "kinds", "kinds", "Kinds", inputs=KINDS, outputs=KINDS)
    _save(folder / "undefined", "undefined", "Undefined")
    # The input lacks the dimension of the batch, as in some examples of MLServer's.
    _save(folder / "wrong", "wrong", "Undefined", inputs=[tensor("x", "FP32", 1)])
    _save(folder / "liar", "liar", "Adder", inputs=X, outputs=[tensor("y", "FP32", -1, 2)])
    replica_ports = [free_port() for _ in range(3)]
    settings = {
        "host": "127.0.0.1",
        "http_port": replica_ports[0],
        "grpc_port": replica_ports[1],
        "metrics_port": replica_ports[2],
        "metrics_endpoint": None,
        "parallel_workers": 0,
        "grpc_max_message_length": 4 * 2**20,
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    command = [str(server_environment("mlserver", FOLDER / "mlserver.lock.txt") / "mlserver"), "start", str(folder)]
    return Replica(ServerProcess(command, folder / "log"), replica_ports[1], replica_ports[0])


def _save(
    folder: Path,
    name: str,
    model: str,
    *,
    version: str | None = None,
    inputs: Tensors | None = None,
    outputs: Tensors | None = None,
    extra: Mapping[str, Any] | None = None,
) -> None:
    folder.mkdir()
    shutil.copy(FOLDER / "mlserver_models.py", folder / "mlserver_models.py")
    settings = {
        "name": name,
        "implementation": f"mlserver_models.{model}",
        "inputs": inputs or [],
        "outputs": outputs or [],
        "parameters": {"version": version, "extra": dict(extra or {})},
    }
    (folder / "model-settings.json").write_text(json.dumps(settings))
