"""A pool of Python workers for Flink's task managers: `python -m runners.worker.pool --port 50000`.

Each task manager asks a pool beside it for the worker processes of a job (Beam's environment EXTERNAL). Beam's own
pool, which this one extends, starts whatever `python` is on PATH, leaves what workers print in a pipe nobody reads,
and does not tune workers for bundles that last milliseconds.
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

from runners.flink.configuration import WORKER_POOL_PORT
from runners.local.free_ports import is_free
from runners.local.signals import set_at_signals
from runners.worker.loopback import tune_worker_process

_LOGGER = logging.getLogger(__name__)


class WorkerPool(BeamFnExternalWorkerPoolServicer):
    """Starts and stops worker processes as task managers ask for them; their output goes where the pool's goes."""

    def StartWorker(self, request: Any, _: Any) -> Any:  # noqa: N802, gRPC's name
        """Called by a task manager when a job starts there, and after a worker was lost."""
        address, name = request.control_endpoint.url, request.worker_id
        _LOGGER.info("starting worker %s for %s", name, address)
        command = [sys.executable, "-m", "runners.worker.pool", "--worker", name, "--control", address]
        try:
            self._worker_processes[name] = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        except OSError as error:
            return beam_fn_api_pb2.StartWorkerResponse(error=f"the worker process could not be started: {error}")
        return beam_fn_api_pb2.StartWorkerResponse()


def work(name: str, control: str) -> None:
    """Is a worker: runs the bundles that the task manager at `control` sends, until it is gone."""
    tune_worker_process()
    SdkHarness(control, worker_id=name).run()


def main(arguments: Sequence[str] | None = None) -> int:
    """Serves until SIGINT or SIGTERM, and ends the workers then."""
    parser = argparse.ArgumentParser(prog="python -m runners.worker.pool", description=__doc__)
    parser.add_argument(
        "--port", type=int, default=WORKER_POOL_PORT, help="where task managers ask (default: %(default)s)"
    )
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--control", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    logging.getLogger("apache_beam").setLevel(logging.WARNING)
    if given.worker:
        work(given.worker, given.control)
        return 0
    if not is_free(given.port):  # gRPC would share it with whoever listens there
        print(f"port {given.port} is taken: stop what listens there, or give another --port", file=sys.stderr)
        return 1
    done = set_at_signals()
    address, server = WorkerPool.start(use_process=True, port=given.port)
    _LOGGER.info("workers can be asked for at %s", address)
    done.wait()
    server.stop(0)
    return 0


if __name__ == "__main__":
    sys.exit(main())
