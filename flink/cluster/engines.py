"""Clusters in a container engine, by kind, k3d or minikube, for machines that have them: the commands of each.

kind was run by hand, with look-alikes of its images (docs/how-to/kubernetes.md says which); k3d and minikube were not.
The tests run the commands with recorded programs.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from flink.cluster import layout
from flink.cluster.commands import run
from flink.cluster.errors import ClusterError, MissingPartError
from runners.local.cache_folder import announce

NAME = "beam-serving"
PACKAGES = "packages"
"""The choice of the cluster that is built from packages (`flink.cluster.node`)."""

_SECONDS = 900.0
# On the node, which is a container: Flink's state outlives pods, and ends with the cluster.
STATE_FOLDER = "/var/beam-serving/flink-state"


@dataclass(frozen=True)
class Engine:
    """A program that runs clusters in Docker.

    Attributes:
      name: the program.
      create, delete: its arguments that create and delete the cluster.
      load: its arguments that load an image, whose name follows.
      node: the name of the container that is the node.
    """

    name: str
    create: tuple[str, ...]
    delete: tuple[str, ...]
    load: tuple[str, ...]
    node: str


# All three are said to enforce NetworkPolicies: kind from 0.24 on, minikube by Calico.
ENGINES = (
    Engine(
        "kind",
        ("create", "cluster", "--name", NAME, "--wait", "180s"),
        ("delete", "cluster", "--name", NAME),
        ("load", "docker-image", "--name", NAME),
        f"{NAME}-control-plane",
    ),
    Engine(
        "k3d",
        ("cluster", "create", NAME, "--wait", "--timeout", "180s", "--k3s-arg", "--disable=traefik@server:0"),
        ("cluster", "delete", NAME),
        ("image", "import", "--cluster", NAME),
        f"k3d-{NAME}-server-0",
    ),
    Engine(
        "minikube",
        ("start", "--profile", NAME, "--driver", "docker", "--cni", "calico", "--wait", "all"),
        ("delete", "--profile", NAME),
        ("image", "load", "--profile", NAME),
        NAME,
    ),
)
CHOICES = (*(engine.name for engine in ENGINES), PACKAGES)


def choose(wanted: str | None = None) -> Engine | None:
    """The engine for a new cluster; None for the cluster from packages.

    Args:
      wanted: one of `CHOICES`; None for the first engine that this machine has, and for packages if it has none.

    Raises:
      MissingPartError: a program of the wanted engine is missing, or Docker does not answer.
    """
    if wanted == PACKAGES:
        return None
    for engine in ENGINES:
        if wanted in (None, engine.name):
            missing = _missing(engine)
            if not missing:
                return engine
            if wanted is not None:
                raise MissingPartError(f"{engine.name} cannot be used: {missing}")
    return None


def _missing(engine: Engine) -> str:
    """What is missing for an engine; empty if it can be used."""
    for program in (engine.name, "docker", "kubectl"):
        if shutil.which(program) is None:
            return f"{program} is not on PATH"
    try:
        run(["docker", "info", "--format", "{{.ServerVersion}}"], seconds=30.0)
    except ClusterError as error:
        return f"Docker does not answer: {error}"
    return ""


def running() -> Engine | None:
    """The engine of the cluster that `create` has created; None if there is none."""
    try:
        name = _record().read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    return next(engine for engine in ENGINES if engine.name == name)


def create(engine: Engine, options: Sequence[str] = ()) -> None:
    """Creates the cluster and the folder of Flink's state in it.

    Args:
      engine: the engine that creates it.
      options: more options for its command, such as `--image` with a node's image from a mirror.

    Raises:
      ClusterError: the command fails.
    """
    layout.node_folder().mkdir(parents=True, exist_ok=True)
    # Written first, so that `delete` also ends a cluster that was only begun.
    _record().write_text(engine.name, encoding="utf-8")
    _run(engine, (*engine.create, *options))
    prepare = f"mkdir -p {STATE_FOLDER} && chown 9999:9999 {STATE_FOLDER}"
    run(["docker", "exec", engine.node, "sh", "-c", prepare])


def build_and_load(engine: Engine, root: Path, images: dict[str, tuple[Path, str]]) -> None:
    """Builds images from their Dockerfiles, on the original base images, and loads them into the cluster.

    Args:
      engine: the engine of the cluster.
      root: the folder from which files are copied.
      images: the Dockerfile and the full name of each image.
    """
    # Docker's older builder does not know --chmod, and sends the whole folder, because it reads no .dockerignore
    # beside a Dockerfile. Docker before 23 uses it by default, and newer ones do without the package of buildx.
    buildkit = {"DOCKER_BUILDKIT": "1"}
    for dockerfile, name in images.values():
        announce(f"Building the image {name} with Docker (minutes the first time)")
        build: list[str | Path] = ["docker", "build", "--file", dockerfile, "--tag", name, root]
        run(build, environment=buildkit, seconds=4 * _SECONDS)
        announce(f"Loading {name} into the cluster")
        load(engine, name)


def load(engine: Engine, image: str) -> None:
    """Loads an image of Docker's into the cluster; raises ClusterError when that fails."""
    _run(engine, (*engine.load, image))


def delete(engine: Engine) -> None:
    """Deletes the cluster with all that is in it."""
    _run(engine, engine.delete)
    _record().unlink()


def machine_address(engine: Engine) -> str:
    """The address of this machine as pods see it, the node's gateway; raises ClusterError if the node has none."""
    # Of the container, because users choose the network: for kind, by an environment variable.
    inspect = ["docker", "container", "inspect", "--format", "{{json .NetworkSettings.Networks}}", engine.node]
    gateways = [network["Gateway"] for network in json.loads(run(inspect)).values()]
    addresses = [one for one in gateways if one]
    if not addresses:
        raise ClusterError(f"the container {engine.node} is in no network that has a gateway with an IPv4 address")
    return str(addresses[0])


def _run(engine: Engine, arguments: Sequence[str]) -> None:
    # All three write the access to the cluster there, and leave the user's own file alone.
    run([engine.name, *arguments], environment={"KUBECONFIG": str(layout.kubeconfig())}, seconds=_SECONDS)


def _record() -> Path:
    return layout.node_folder() / "engine"
