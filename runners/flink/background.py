"""Keeps a local Flink cluster in the background.

A single process owns the cluster and holds a lock as long as it lives. The cluster ends with this process.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from models.errors import FlinkJobError, FlinkUnreachableError
from runners.flink.cluster import FlinkClusterError, FlinkClusterSettings, LocalFlinkCluster
from runners.flink.distribution import flink_distribution
from runners.flink.rest import FlinkRest
from runners.local.cache_folder import cache_folder
from runners.local.java_tools import java
from runners.local.signals import set_at_signals
from runners.worker.pool_port import WORKER_POOL_PORT

REST_PORT = 8081
POLL_SECONDS = 0.2
DOWN_SECONDS = 60.0


@dataclass(frozen=True)
class BackgroundCluster:
    """A cluster that is up.

    Attributes:
      process_id: the process that owns the cluster.
      rest_port: the port of the REST API and the web pages.
      worker_pool_port: the port of the pool of Python workers.
      log_folder: the folder with the logs of all its processes.
    """

    process_id: int
    rest_port: int
    worker_pool_port: int
    log_folder: str

    def description(self) -> str:
        """The cluster's addresses and logs, and how to run a pipeline on it."""
        run = f"beam-serving run --runner FlinkRunner --flink-master localhost:{self.rest_port}"
        if self.worker_pool_port != WORKER_POOL_PORT:
            run += f" --environment_config=localhost:{self.worker_pool_port}"
        return (
            f"Web pages:   http://localhost:{self.rest_port}\n"
            f"Worker pool: localhost:{self.worker_pool_port}\n"
            f"Logs:        {self.log_folder}\n"
            f"Run on it:   {run} ..."
        )


def find() -> BackgroundCluster | None:
    """The cluster that is up; None when there is none, or when it is still starting."""
    with _lock() as free:
        if free:
            return None
    try:
        return BackgroundCluster(**json.loads(_state_file().read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None


def up(arguments: Sequence[str], start_seconds: float) -> BackgroundCluster:
    """Starts the cluster in the background and returns when it is ready.

    Args:
      arguments: the command-line arguments of `serve`.
      start_seconds: how long the start may take.

    Raises:
      FlinkClusterError: the cluster does not come up; the message has the end of its output.
      FlinkDistributionError, JavaToolError: Flink cannot be downloaded, or Java is missing.
    """
    # In the foreground, because a download may take minutes and reports its progress to the user.
    java("the local Flink cluster")
    flink_distribution()
    folder = _folder()
    folder.mkdir(parents=True, exist_ok=True)
    output = folder / "background.out"
    with output.open("wb") as log:
        owner = subprocess.Popen(
            [sys.executable, "-m", "runners.flink", "serve", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    cluster = None
    try:
        cluster = _wait_for(owner, start_seconds)
    finally:
        if cluster is None:
            owner.kill()
            owner.wait()
    if cluster is not None:
        return cluster
    raise FlinkClusterError(f"The local Flink cluster did not come up:\n{output.read_text(errors='replace')[-3000:]}")


def _wait_for(owner: subprocess.Popen[bytes], seconds: float) -> BackgroundCluster | None:
    deadline = time.monotonic() + seconds
    while owner.poll() is None and time.monotonic() < deadline:
        cluster = find()
        if cluster is not None:
            return cluster
        time.sleep(POLL_SECONDS)
    return None


def down(seconds: float = DOWN_SECONDS) -> bool:
    """Stops the cluster with all its processes and returns when it is gone; False when no cluster was up."""
    cluster = find()
    if cluster is None:
        return False
    os.kill(cluster.process_id, signal.SIGTERM)
    deadline = time.monotonic() + seconds
    while find() is not None:
        if time.monotonic() > deadline:
            # The guards of its processes then kill what it owned.
            os.kill(cluster.process_id, signal.SIGKILL)
            deadline += seconds
        time.sleep(POLL_SECONDS)
    return True


def serve(settings: FlinkClusterSettings) -> int:
    """Owns a cluster until SIGTERM or SIGINT, and returns the exit status.

    Of an earlier cluster, only the savepoints are kept.
    """
    stopped = set_at_signals()
    # Several attempts, because `find` in another process also holds the lock for a moment.
    with _lock(attempts=10) as free:
        if not free:
            print("The local Flink cluster is already up or starting.", file=sys.stderr)
            return 1
        _state_file().unlink(missing_ok=True)
        for path in work_folder().glob("*"):
            if path.name != "savepoints":
                shutil.rmtree(path)
        with LocalFlinkCluster(settings) as cluster:
            _write_state(cluster)
            stopped.wait()
        _state_file().unlink()
    return 0


def _write_state(cluster: LocalFlinkCluster) -> None:
    rest, pool = (int(address.rpartition(":")[2]) for address in (cluster.rest_address, cluster.worker_pool_address))
    state = BackgroundCluster(os.getpid(), rest, pool, str(cluster.log_folder))
    fresh = _state_file().with_suffix(".new")
    fresh.write_text(json.dumps(asdict(state)), encoding="utf-8")
    fresh.replace(_state_file())


def _folder() -> Path:
    return cache_folder("flink-cluster")


def work_folder() -> Path:
    """Where the cluster keeps its logs, checkpoints and savepoints."""
    return _folder() / "work"


def _state_file() -> Path:
    return _folder() / "cluster.json"


@contextmanager
def _lock(attempts: int = 1) -> Iterator[bool]:
    """Tries to take the lock that the owner of the cluster holds, and yields whether it was free."""
    _folder().mkdir(parents=True, exist_ok=True)
    with (_folder() / "owner.lock").open("w") as lock:
        for _ in range(attempts):
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(POLL_SECONDS if attempts > 1 else 0)
            else:
                yield True
                return
        yield False


def describe(cluster: BackgroundCluster) -> str:
    """What the running cluster reports about itself."""
    try:
        found = FlinkRest(f"localhost:{cluster.rest_port}").overview()
    except (FlinkUnreachableError, FlinkJobError) as error:
        return f"The local Flink cluster is up, but does not answer: {error}\n{cluster.description()}"
    return (
        f"Flink {found.version} is up: {found.task_managers} task managers, {found.free_slots} of {found.slots} task "
        f"slots free\n{cluster.description()}"
    )
