"""The containers and images of the node's container runtime."""

from __future__ import annotations

import contextlib
import tempfile
import time
from pathlib import Path

from flink.cluster import layout, processes
from flink.cluster.building import container_images
from flink.cluster.commands import run
from flink.cluster.errors import ClusterError
from runners.local.cache_folder import announce

_NAMESPACE = "k8s.io"
_LOADING_SECONDS = 900.0


def load(name: str) -> None:
    """Loads an image of our cache into the node, unless it is there in the same version.

    Raises:
      ClusterError: the image is not in the cache, or cannot be loaded.
    """
    identifier = container_images.names().get(name)
    if identifier is None:
        raise ClusterError(f"the image {name} is not in the cache: build it with python -m flink.cluster build")
    marker = _loaded_marker(name)
    if marker.is_file() and marker.read_text(encoding="utf-8") == identifier and name in loaded():
        return
    announce(f"Loading {name} into the node ({container_images.size(name) / 1e6:.0f} MB)")
    with tempfile.TemporaryDirectory(dir=layout.image_folder().parent) as temporary:
        archive = Path(temporary, "image.tar")
        container_images.save(name, archive)
        _ctr("images", "import", "--digests=false", str(archive), seconds=_LOADING_SECONDS)
    marker.parent.mkdir(parents=True, exist_ok=True)
    marker.write_text(identifier, encoding="utf-8")


def loaded() -> set[str]:
    """The names of the images in the node."""
    return set(_ctr("images", "list", "--quiet").split())


def kill(container: str) -> None:
    """Kills all processes of a container with SIGKILL, as the kernel does when memory is exhausted.

    Args:
      container: its identifier, the part behind `containerd://` in the status of a pod.

    Raises:
      ClusterError: the container does not run.
    """
    _ctr("tasks", "kill", "--all", "--signal=SIGKILL", container)


def remove_all() -> None:
    """Kills and removes all containers of the node."""
    if processes.find("containerd") is None:
        return
    for task in _listed("tasks", "list"):
        with contextlib.suppress(ClusterError):
            _ctr("tasks", "kill", "--signal=SIGKILL", task)
    deadline = time.monotonic() + 15.0
    while time.monotonic() < deadline and "RUNNING" in _ctr("tasks", "list"):
        time.sleep(0.3)
    for container in _listed("containers", "list"):
        with contextlib.suppress(ClusterError):
            _ctr("tasks", "delete", "--force", container)
        with contextlib.suppress(ClusterError):
            _ctr("containers", "delete", container)


def _listed(*arguments: str) -> list[str]:
    return _ctr(*arguments, "--quiet").split()


def _ctr(*arguments: str, seconds: float = 60.0) -> str:
    command = ["ctr", "--address", str(layout.containerd_socket()), "--namespace", _NAMESPACE]
    return run([*command, *arguments], seconds=seconds)


def _loaded_marker(name: str) -> Path:
    return layout.image_folder().parent / "loaded" / name.replace("/", "_").replace(":", "_")
