"""A real collector of OpenTelemetry, which receives OTLP over HTTP and passes it on to another receiver.

It is built with Go from `tests/collector` into the cache, once (two minutes of processor time).

with receiving() as received, running(folder, received.address) as endpoint:
    ...  # export to `endpoint`
"""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import yaml

from runners.local.cache_folder import cache_folder, locked
from runners.local.free_ports import free_port
from runners.local.server_process import ServerProcess

SOURCE = Path(__file__).with_name("collector")

_START_SECONDS = 60.0
_BUILD_SECONDS = 1_200.0


@contextmanager
def running(folder: Path, receiver: str) -> Iterator[str]:
    """Runs a collector; yields the address at which it receives OTLP.

    Args:
      folder: for its configuration and its log.
      receiver: HOST:PORT of the receiver to which it passes everything on, without waiting.
    """
    port = free_port()
    pipeline = {"receivers": ["otlp"], "exporters": ["otlp_http"]}
    configuration = {
        "receivers": {"otlp": {"protocols": {"http": {"endpoint": f"127.0.0.1:{port}"}}}},
        "exporters": {"otlp_http": {"endpoint": f"http://{receiver}", "sending_queue": {"enabled": False}}},
        "service": {
            "telemetry": {"metrics": {"level": "none"}},
            "pipelines": {"traces": pipeline, "metrics": pipeline},
        },
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "collector.yaml").write_text(yaml.safe_dump(configuration))
    command = [str(program()), "--config", str(folder / "collector.yaml")]
    server = ServerProcess(command, folder / "collector.log")
    try:
        _wait_until_open(server, port)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.stop(10.0)


def program() -> Path:
    """The program, from the cache or built into it."""
    sources = [SOURCE / name for name in ("main.go", "go.mod", "go.sum")]
    digest = sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:12]
    folder = cache_folder() / "otel-collector"
    built = folder / f"collector-{digest}"
    with locked(folder / "lock", "building the collector"):
        if not built.exists():
            partial = built.with_suffix(".partial")
            # Without tables of symbols, linking takes half the time.
            command = ["go", "build", "-trimpath", "-ldflags=-s -w", "-o", str(partial), "."]
            done = subprocess.run(command, cwd=SOURCE, capture_output=True, text=True, timeout=_BUILD_SECONDS)
            if done.returncode:
                raise RuntimeError(f"the collector cannot be built: {done.stderr[-2000:]}")
            partial.replace(built)
    return built


def _wait_until_open(server: ServerProcess, port: int) -> None:
    end = time.monotonic() + _START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 5).close()
            return
        except OSError:
            assert server.running and time.monotonic() < end, server.log_end()
            time.sleep(0.1)
