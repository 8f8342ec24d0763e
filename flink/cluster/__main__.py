"""The command line `python -m flink.cluster up|down|status|build|load|autoscaling|demo`, with its errors."""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from flink.cluster import demo as play
from flink.cluster import engines, kubernetes_client, layout, machine, processes
from flink.cluster.building import binaries, project_images
from flink.cluster.errors import ClusterError
from flink.cluster.node import containers, single_node
from flink.cluster.platform import kafka, keda, prerequisites
from flink.deployment.errors import DeploymentError
from models.errors import ServingError
from runners.local.cache_folder import announce

PACKAGES_HINT = "KUBERNETES=packages builds one from packages instead"


def build(_: argparse.Namespace) -> None:
    """Builds the programs that are not in the cache, and the project's images from the current sources."""
    machine.check_building()
    _at_once(binaries.build_all, project_images.build_all)


def _at_once(*builds: Callable[[], None]) -> None:
    """Runs builds beside each other: compilers need processors, installers of packages wait for disk and network."""
    with ThreadPoolExecutor(len(builds)) as pool:
        for running in [pool.submit(build) for build in builds]:
            running.result()


def up(given: argparse.Namespace) -> None:
    """Builds what is missing, starts the cluster, and creates what the deployment needs."""
    # Whichever it is: both kinds of cluster have the same kubeconfig and the same broker.
    if _is_up():
        raise ClusterError("the cluster is up already; make kubernetes-down ends it")
    engine = engines.choose(given.engine)
    if engine is not None:
        _up_in(engine, shlex.split(given.options))
        return
    machine.check_running()
    began = time.monotonic()
    machine.check_building()
    _at_once(binaries.build_all, project_images.build_missing)
    single_node.up()
    prerequisites.load_images()
    prerequisites.apply()
    announce(f"The cluster is up after {time.monotonic() - began:.0f} s.")
    _print_access()


def _is_up() -> bool:
    return single_node.is_up() or engines.running() is not None


def _up_in(engine: engines.Engine, options: Sequence[str]) -> None:
    # Before the minutes that images take, because this needs more programs than the engine does.
    prerequisites.fetch()
    announce(f"Creating a cluster with {engine.name} and Docker ({PACKAGES_HINT})")
    engines.create(engine, options)
    images = {image: (project_images.dockerfile(image), name) for image, name in project_images.NAMES.items()}
    engines.build_and_load(engine, project_images.ROOT, images)
    prerequisites.apply_in(engine)
    _print_access()


def _print_access() -> None:
    # The user's own kubectl is on PATH already, behind a virtual environment perhaps, where its folder has to stay.
    path = "" if engines.running() else f"export PATH={kubernetes_client.path().parent}:$PATH\n"
    print(
        f"export KUBECONFIG={layout.kubeconfig()}\n"
        f"{path}"
        f"Kafka:  {kafka.BOOTSTRAP_SERVERS}\n"
        f"Logs:   {layout.log_folder()}\n"
        "Deploy: make deploy-flink ENV=local\n"
        "End:    make kubernetes-down"
    )


def down(_: argparse.Namespace) -> None:
    """Ends the cluster and restores the machine; programs and images stay in the cache."""
    kafka.down()
    engine = engines.running()
    if engine is None:
        single_node.down()
    else:
        engines.delete(engine)
    announce("The cluster is down.")


def status(_: argparse.Namespace) -> None:
    """Prints which programs of the cluster run; raises ClusterError unless all do."""
    engine = engines.running()
    programs = ("kafka",) if engine else (*single_node.PROGRAMS, "kafka")
    stopped = [name for name in programs if processes.find(name) is None]
    if engine and not kubernetes_client.answers():
        stopped.insert(0, f"the cluster of {engine.name}")
    if stopped:
        first = "make kubernetes-down ends what is left, and " if engine else ""
        raise ClusterError(f"not running: {', '.join(stopped)}; {first}make kubernetes-up starts the cluster")
    print("The cluster is up.")


def load(given: argparse.Namespace) -> None:
    """Loads images into the running node, all of the project's by default: those of the cache, or Docker's."""
    engine = engines.running()
    for name in given.images or project_images.NAMES.values():
        if engine is None:
            containers.load(name)
        else:
            engines.load(engine, name)


def autoscaling(_: argparse.Namespace) -> None:
    """Installs KEDA into the running cluster, for the component `autoscaling`; raises ClusterError if none runs."""
    if not _is_up():
        raise ClusterError("no cluster is up; make kubernetes-up starts one")
    keda.install()
    announce("KEDA is ready.")


def demo(given: argparse.Namespace) -> None:
    """Starts the cluster unless it is up, deploys the project, and plays the demo on it."""
    if not _is_up():
        up(given)
    play.run()


COMMANDS: dict[str, Callable[[argparse.Namespace], None]] = {
    "up": up,
    "down": down,
    "status": status,
    "build": build,
    "load": load,
    "autoscaling": autoscaling,
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
    parser.add_argument(
        "--with",
        dest="engine",
        choices=engines.CHOICES,
        help="for up: what runs the cluster (default: kind, k3d or minikube if it and Docker are there, else packages)",
    )
    parser.add_argument(
        "--options",
        default="",
        help="for up: more options for the command with which kind, k3d or minikube creates the cluster",
    )
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
