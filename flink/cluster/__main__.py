"""The command line `python -m flink.cluster up|down|status|build|load|demo`, with its errors."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from flink.cluster import demo as play
from flink.cluster import layout, machine, processes
from flink.cluster.building import binaries, project_images
from flink.cluster.errors import ClusterError
from flink.cluster.node import containers, single_node
from flink.cluster.platform import kafka, prerequisites
from flink.deployment.errors import DeploymentError
from models.errors import ServingError
from runners.local.cache_folder import announce


def build(_: argparse.Namespace) -> None:
    """Builds the programs that are not in the cache, and the project's images from the current sources."""
    machine.check_building()
    _at_once(binaries.build_all, project_images.build_all)


def _at_once(*builds: Callable[[], None]) -> None:
    """Runs builds beside each other: compilers need processors, installers of packages wait for disk and network."""
    with ThreadPoolExecutor(len(builds)) as pool:
        for running in [pool.submit(build) for build in builds]:
            running.result()


def up(_: argparse.Namespace) -> None:
    """Builds what is missing, starts the cluster, and creates what the deployment needs."""
    machine.check_running()
    began = time.monotonic()
    machine.check_building()
    _at_once(binaries.build_all, project_images.build_missing)
    single_node.up()
    prerequisites.load_images()
    prerequisites.apply()
    announce(f"The cluster is up after {time.monotonic() - began:.0f} s.")
    print(
        f"export KUBECONFIG={layout.kubeconfig()}\n"
        f"export PATH={binaries.KUBERNETES.file.parent}:$PATH\n"
        f"Kafka:  {kafka.BOOTSTRAP_SERVERS}\n"
        f"Logs:   {layout.log_folder()}\n"
        "Deploy: make deploy-flink ENV=local\n"
        "End:    make kubernetes-down"
    )


def down(_: argparse.Namespace) -> None:
    """Ends the cluster and restores the machine; programs and images stay in the cache."""
    kafka.down()
    single_node.down()
    announce("The cluster is down.")


def status(_: argparse.Namespace) -> None:
    """Prints which programs of the cluster run; raises ClusterError unless all do."""
    stopped = [name for name in (*single_node.PROGRAMS, "kafka") if processes.find(name) is None]
    if stopped:
        raise ClusterError(f"not running: {', '.join(stopped)}; make kubernetes-up starts the cluster")
    print("The cluster is up.")


def load(given: argparse.Namespace) -> None:
    """Loads images of the cache into the running node, all of the project's by default."""
    for name in given.images or project_images.NAMES.values():
        containers.load(name)


def demo(given: argparse.Namespace) -> None:
    """Starts the cluster unless it is up, deploys the project, and plays the demo on it."""
    if not single_node.is_up():
        up(given)
    play.run()


COMMANDS: dict[str, Callable[[argparse.Namespace], None]] = {
    "up": up,
    "down": down,
    "status": status,
    "build": build,
    "load": load,
    "demo": demo,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit status: 0 on success, 1 on failure."""
    parser = argparse.ArgumentParser(
        prog="python -m flink.cluster",
        description="A single-node Kubernetes on this machine, built from package registries.",
        allow_abbrev=False,
    )
    parser.add_argument("command", choices=COMMANDS, help="what to do")
    parser.add_argument("images", nargs="*", help="for load: the names of images")
    given = parser.parse_args(arguments)
    try:
        COMMANDS[given.command](given)
    except (ClusterError, DeploymentError, ServingError) as error:
        print(f"{given.command}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
