"""A pool of Python workers for Flink's task managers: `python -m runners.worker.pool --port 50000`.

Each task manager asks a pool next to it for the worker processes of a job (Beam's environment EXTERNAL). This pool
extends Beam's own, which starts whichever `python` is on PATH, leaves the workers' output in a pipe that nothing reads,
and does not tune workers for bundles that last milliseconds.

With `--standby TYPES`, the pool also keeps a process that has imported the engines of these model types, and waits. It
becomes the next worker, so a job that restarts does not wait for imports.
"""

from __future__ import annotations

import argparse
import logging
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from apache_beam.portability.api import beam_fn_api_pb2
from apache_beam.runners.worker.sdk_worker import SdkHarness
from apache_beam.runners.worker.worker_pool_main import BeamFnExternalWorkerPoolServicer

from models.scorers import prepare_engines
from runners.local.free_ports import is_free
from runners.local.signals import set_at_signals
from runners.worker.loopback import tune_worker_process
from runners.worker.pool_port import WORKER_POOL_PORT
from runners.worker.standby import StandbyWorker, wait_for_assignment

_PROGRAM = (sys.executable, "-m", "runners.worker.pool")
_LOGGER = logging.getLogger(__name__)


class WorkerPool(BeamFnExternalWorkerPoolServicer):
    """Starts and stops worker processes when task managers ask for it; workers share the pool's output."""

    standby: StandbyWorker | None = None

    def StartWorker(self, request: Any, _: Any) -> Any:  # noqa: N802, gRPC's name
        """Starts a worker. A task manager calls this when a job starts on it, and after it has lost a worker."""
        address, name = request.control_endpoint.url, request.worker_id
        _LOGGER.info("starting worker %s for %s", name, address)
        try:
            self._worker_processes[name] = self._prepared(name, address) or self._fresh(name, address)
        except OSError as error:
            return beam_fn_api_pb2.StartWorkerResponse(error=f"the worker process could not be started: {error}")
        return beam_fn_api_pb2.StartWorkerResponse()

    def _prepared(self, name: str, address: str) -> subprocess.Popen[bytes] | None:
        return self.standby.become(name, address) if self.standby is not None else None

    def _fresh(self, name: str, address: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen([*_PROGRAM, "--worker", name, "--control", address], stdin=subprocess.DEVNULL)


def work(name: str, control: str) -> None:
    """Runs a worker: processes the bundles from the task manager at `control` until the connection ends."""
    tune_worker_process()
    SdkHarness(control, worker_id=name).run()


def wait_for_work(model_types: Sequence[str]) -> None:
    """Imports the engines of these model types, waits until the pool needs a worker, and is that worker."""
    prepare_engines(model_types)
    _LOGGER.info("the standby process is ready: it has imported %s", ", ".join(model_types))
    assignment = wait_for_assignment()
    if assignment is not None:
        work(assignment.name, assignment.control)


def main(arguments: Sequence[str] | None = None) -> int:
    """Serves until SIGINT or SIGTERM, then stops the workers and returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m runners.worker.pool", description=__doc__)
    parser.add_argument(
        "--port", type=int, default=WORKER_POOL_PORT, help="the port to listen on (default: %(default)s)"
    )
    parser.add_argument(
        "--standby",
        metavar="TYPES",
        default="",
        help="keep a process that has imported the engines of these model types, separated by commas, for the next "
        "worker (default: none); it needs memory for the engines once more",
    )
    parser.add_argument("--prepare", help=argparse.SUPPRESS)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--control", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    logging.getLogger("apache_beam").setLevel(logging.WARNING)
    if given.worker:
        work(given.worker, given.control)
        return 0
    if given.prepare:
        wait_for_work(given.prepare.split(","))
        return 0
    if not is_free(given.port):  # gRPC sets SO_REUSEPORT and would silently share the port with another server
        print(f"port {given.port} is in use: stop its server, or choose another --port", file=sys.stderr)
        return 1
    done = set_at_signals()
    if given.standby:
        WorkerPool.standby = StandbyWorker([*_PROGRAM, "--prepare", given.standby])
    address, server = WorkerPool.start(use_process=True, port=given.port)
    _LOGGER.info("the worker pool listens at %s", address)
    done.wait()
    server.stop(0)
    if WorkerPool.standby is not None:
        WorkerPool.standby.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
