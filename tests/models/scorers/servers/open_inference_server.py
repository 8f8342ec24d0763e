"""A real Open Inference server in its own environment, as the tests see it.

replica = MLSERVER.start(tmp_path)
replica.wait_until_ready()
with loaded("open-inference-grpc", at("open-inference-grpc", replica, path=MLSERVER.adder)) as scorer:
    ...
replica.process.kill()
"""

from __future__ import annotations

import os
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from models.scorers import load_scorer
from models.scorers.base import Scorer
from runners.local.server_process import ServerProcess
from tests.models.scorers.servers.tensorflow_serving_replica import source

FOLDER = Path(__file__).parent
START_SECONDS = 90.0

GRPC, REST = "open-inference-grpc", "open-inference-rest"


@dataclass
class Replica:
    """A server process and its ports. Not thread-safe.

    Attributes:
      command: the program and its arguments.
      log: the file for its output.
      grpc_port, rest_port: the ports on which it listens.
      count_calls: queries a running replica for the number of calls of `adder` so far.
      environment: environment variables in addition to those of this process.
      process: the running process, or the last one.
    """

    command: Sequence[str]
    log: Path
    grpc_port: int
    rest_port: int
    count_calls: Callable[[Replica], int]
    environment: Mapping[str, str] = field(default_factory=dict)
    process: ServerProcess = field(init=False)

    def __post_init__(self) -> None:
        self.start_again()

    def start_again(self) -> None:
        """Starts the process without waiting until it is ready; the previous one must have ended."""
        self.process = ServerProcess(self.command, self.log, self.environment)

    def wait_until_ready(self) -> None:
        """Returns when the server and its models are ready; fails when the process ends before, or takes too long."""
        end = time.monotonic() + START_SECONDS
        while not self._ready():
            assert self.process.running, self.process.log_end()
            assert time.monotonic() < end, self.process.log_end()
            time.sleep(0.1)

    def calls(self) -> int:
        """The number of calls of `adder` so far."""
        return self.count_calls(self)

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """Suspends the server's processes for this block; their connections stay open."""
        os.killpg(self.process.process_id, signal.SIGSTOP)
        try:
            yield
        finally:
            os.killpg(self.process.process_id, signal.SIGCONT)

    def read(self, path: str, body: bytes | None = None) -> bytes:
        """The server's HTTP response to GET, or to POST if there is a body."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.rest_port}{path}", body, timeout=10) as response:
            content: bytes = response.read()
            return content

    def _ready(self) -> bool:
        try:
            self.read("/v2/health/ready")
        except (urllib.error.URLError, OSError):
            return False
        return True


Pair = tuple[Replica, Replica]


class OpenInferenceServer(Protocol):
    """How one kind of server serves the models of `served_models.py`.

    Attributes:
      adder: the path of one version of `adder`, as in locations.
      offset: the number that this version adds.
      versions: the paths of `adder`, with the number that each version adds and the version that results name.
      halves: the kinds of scorer through which the server accepts FP16.
      nan: whether the server can return NaN over gRPC.
      failure: a pattern of the text of a model's error, by kind of scorer.
      unknown: patterns of the server's texts at these paths, for a model and a version that do not exist.
    """

    @property
    def adder(self) -> str: ...
    @property
    def offset(self) -> float: ...
    @property
    def versions(self) -> Mapping[str, tuple[float, int | None]]: ...
    @property
    def halves(self) -> frozenset[str]: ...
    @property
    def nan(self) -> bool: ...
    @property
    def failure(self) -> Mapping[str, str]: ...
    @property
    def unknown(self) -> Mapping[str, str]: ...

    def start(self, folder: Path, forest: Path, *, load_seconds: float = 0.0) -> Replica:
        """Starts a process without waiting until it is ready; the caller kills it.

        Args:
          folder: an empty folder for models, settings and the log.
          forest: the ONNX program of the model `forest`.
          load_seconds: the time in seconds that `adder` takes to load.
        """


def at(kind: str, *replicas: Replica, path: str) -> str:
    """The location of a model on these replicas, for this kind of scorer."""
    if kind == GRPC:
        return f"grpc://{','.join(f'127.0.0.1:{one.grpc_port}' for one in replicas)}/{path}"
    return f"http://{','.join(f'127.0.0.1:{one.rest_port}' for one in replicas)}/v2/models/{path}"


@contextmanager
def loaded(kind: str, location: str, options: Mapping[str, str] | None = None, **fields: Any) -> Iterator[Scorer]:
    """The scorer of the model at a location, closed after the block."""
    scorer = load_scorer(source(location, kind, options=options or {}, **fields))
    try:
        yield scorer
    finally:
        scorer.close()


def started_pair(server: OpenInferenceServer, folder: Path, forest: Path) -> Iterator[Pair]:
    """Two replicas that are ready, and are killed when the iterator is closed."""
    pair: list[Replica] = []
    try:
        for name in ("first", "second"):
            (folder / name).mkdir()
            pair.append(server.start(folder / name, forest))
        for replica in pair:
            replica.wait_until_ready()
        yield pair[0], pair[1]
    finally:
        for replica in pair:
            replica.process.kill()
