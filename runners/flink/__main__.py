"""The command `python -m runners.flink`: starts, stops or describes a local Flink cluster in the background."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from models.errors import ServingError
from runners.flink import background
from runners.flink.cluster import FlinkClusterSettings
from runners.local.signals import INTERRUPTED, interrupted_by_signals
from runners.worker.pool_port import WORKER_POOL_PORT


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m runners.flink", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (("up", "start the cluster"), ("serve", argparse.SUPPRESS)):
        start = commands.add_parser(name, help=text)
        start.add_argument("--task-managers", type=int, default=1, help="number of task managers (default: 1)")
        start.add_argument("--slots", type=int, default=2, help="task slots of each task manager (default: 2)")
        start.add_argument(
            "--rest-port", type=int, default=background.REST_PORT, help=f"default: {background.REST_PORT}"
        )
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
        work_folder=background.work_folder(),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Starts, stops or describes the cluster in the background, and returns the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser().parse_args(given)
    try:
        if options.command == "serve":
            return background.serve(_settings(options))
        with interrupted_by_signals():  # the KeyboardInterrupt makes `up` stop what it has started
            return _run(options, given[1:])
    except ServingError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED


def _run(options: argparse.Namespace, rest: Sequence[str]) -> int:
    cluster = background.find()
    if options.command == "up":
        if cluster is not None:
            print(f"Already up.\n{background.describe(cluster)}")
        else:
            settings = _settings(options)
            print(background.describe(background.up(rest, settings.start_seconds + settings.stop_seconds)))
        return 0
    if options.command == "down":
        print("The local Flink cluster is down." if background.down() else "No local Flink cluster is up.")
        return 0
    print(background.describe(cluster) if cluster is not None else "No local Flink cluster is up.")
    return 0 if cluster is not None else 1


if __name__ == "__main__":
    sys.exit(main())
