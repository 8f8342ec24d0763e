"""Keeps a local Flink cluster in the background: `up` starts it, `down` stops it, `status` describes it.

A single process owns the cluster and holds a lock as long as it lives. The cluster ends with this process.
"""

from __future__ import annotations

import argparse
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

from models.errors import FlinkJobError, FlinkUnreachableError, ServingError
from runners.flink.cluster import FlinkClusterError, FlinkClusterSettings, LocalFlinkCluster
from runners.flink.configuration import WORKER_POOL_PORT
from runners.flink.distribution import flink_distribution
from runners.flink.rest import FlinkRest
from runners.local.cache_folder import cache_folder
from runners.local.java_tools import java
from runners.local.signals import INTERRUPTED, interrupted_by_signals, set_at_signals

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
            [sys.executable, "-m", "runners.flink.background", "serve", *arguments],
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
        for path in _work_folder().glob("*"):
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


def _work_folder() -> Path:
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


def _describe(cluster: BackgroundCluster) -> str:
    """What the running cluster reports about itself."""
    try:
        found = FlinkRest(f"localhost:{cluster.rest_port}").overview()
    except (FlinkUnreachableError, FlinkJobError) as error:
        return f"The local Flink cluster is up, but does not answer: {error}\n{cluster.description()}"
    return (
        f"Flink {found.version} is up: {found.task_managers} task managers, {found.free_slots} of {found.slots} task "
        f"slots free\n{cluster.description()}"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m runners.flink.cluster", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (("up", "start the cluster"), ("serve", argparse.SUPPRESS)):
        start = commands.add_parser(name, help=text)
        start.add_argument("--task-managers", type=int, default=1, help="number of task managers (default: 1)")
        start.add_argument("--slots", type=int, default=2, help="task slots of each task manager (default: 2)")
        start.add_argument("--rest-port", type=int, default=REST_PORT, help=f"default: {REST_PORT}")
        start.add_argument(
            "--worker-pool-port", type=int, default=WORKER_POOL_PORT, help=f"default: {WORKER_POOL_PORT}"
        )
        start.add_argument("--high-availability", action="store_true", help="use ZooKeeper and two job managers")
    commands.add_parser("down", help="stop the cluster")
    commands.add_parser("status", help="describe the cluster")
    return parser


def _settings(options: argparse.Namespace) -> FlinkClusterSettings:
    return FlinkClusterSettings(
        task_managers=options.task_managers,
        slots=options.slots,
        job_managers=2 if options.high_availability else 1,
        high_availability=options.high_availability,
        rest_port=options.rest_port,
        worker_pool_port=options.worker_pool_port,
        work_folder=_work_folder(),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Starts, stops or describes the cluster in the background, and returns the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser().parse_args(given)
    try:
        if options.command == "serve":
            return serve(_settings(options))
        with interrupted_by_signals():  # the KeyboardInterrupt makes `up` stop what it has started
            return _run(options, given[1:])
    except ServingError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED


def _run(options: argparse.Namespace, rest: Sequence[str]) -> int:
    cluster = find()
    if options.command == "up":
        if cluster is not None:
            print(f"Already up.\n{_describe(cluster)}")
        else:
            settings = _settings(options)
            print(_describe(up(rest, settings.start_seconds + settings.stop_seconds)))
        return 0
    if options.command == "down":
        print("The local Flink cluster is down." if down() else "No local Flink cluster is up.")
        return 0
    print(_describe(cluster) if cluster is not None else "No local Flink cluster is up.")
    return 0 if cluster is not None else 1


if __name__ == "__main__":
    sys.exit(main())
