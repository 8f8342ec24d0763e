"""Builds container images with buildah and keeps them in our cache folder, apart from the machine's own images."""

from __future__ import annotations

import json
import os
import resource
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from flink.cluster.commands import run
from runners.local.cache_folder import cache_folder

_SECONDS = 3600.0
# How this machine reaches the package registries: the steps of a build see these files, the image does not get them.
_MOUNTED = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/ssl/certs/java/cacerts",
    "/etc/pip.conf",
)
_MAVEN_SETTINGS = Path.home() / ".m2" / "settings.xml"


def build(folder: Path, name: str, *, dockerfile: Path | None = None, target: str = "", settings: bool = True) -> None:
    """Builds an image.

    Args:
      folder: the context, from which files are copied.
      name: the image's full name, such as docker.io/library/python:3.11.13-bookworm.
      dockerfile: the Dockerfile; by default that of the folder.
      target: the stage that becomes the image; by default the last one.
      settings: whether the steps see this machine's certificates and settings for package registries. Not if they
        install these files themselves.

    Raises:
      ClusterError: a step fails; the message ends with its last lines.
    """
    path = dockerfile or folder / "Dockerfile"
    ignored = path.with_name(f"{path.name}.dockerignore")
    options = [
        *(["--target", target] if target else []),
        *(["--ignorefile", str(ignored)] if ignored.is_file() else []),
        *(_settings() if settings else []),
    ]
    # Never pulled: a base image that is missing here is an error of ours.
    _buildah(
        "bud", "--layers", "--pull-never", "--network", "host", "--isolation", "oci", "--runtime", "runc", *options,
        "--file", str(path), "--tag", name, str(folder),
    )  # fmt: skip


def _settings() -> Iterator[str]:
    for path in _MOUNTED:
        if Path(path).is_file():
            yield from ("--volume", f"{path}:{path}:ro")
    if _MAVEN_SETTINGS.is_file():
        yield from ("--volume", f"{_MAVEN_SETTINGS}:/root/.m2/settings.xml:ro")


def exists(name: str) -> bool:
    """Whether an image of this name is in our cache."""
    return name in names()


def names() -> dict[str, str]:
    """The names of the images in our cache, with their identifiers."""
    listed = _buildah("images", "--no-trunc", "--format", "{{.Name}}:{{.Tag}} {{.ID}}")
    return dict(line.split() for line in listed.splitlines())


def size(name: str) -> int:
    """The size of an image in bytes: of its layers, which are not compressed in the cache."""
    return sum(layer["size"] for layer in json.loads(_inspect(name)["Manifest"])["layers"])


def configuration(name: str) -> dict[str, Any]:
    """What an image says about its containers: `User`, `Entrypoint`, `Env` and others."""
    found: dict[str, Any] = _inspect(name)["OCIv1"]["config"]
    return found


def _inspect(name: str) -> dict[str, Any]:
    inspected: dict[str, Any] = json.loads(_buildah("inspect", "--type", "image", name))
    return inspected


def save(name: str, archive: Path) -> None:
    """Writes an image as an archive, as `docker save` does."""
    _buildah("push", "--quiet", name, f"docker-archive:{archive}:{name}")


@cache
def _environment() -> dict[str, str]:
    """Settings in files of our own, because those of the machine may be unsuitable, and are not ours to change."""
    folder = cache_folder("kubernetes", "images")
    folder.mkdir(parents=True, exist_ok=True)
    containers = folder / "containers.conf"
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    processes = min(resource.getrlimit(resource.RLIMIT_NPROC)[1], 32768)
    # A container gets the limits that this process may set, which without CAP_SYS_RESOURCE are no higher than its own.
    # runc, because Debian's crun refuses cgroups in hybrid mode.
    containers.write_text(
        "[containers]\n"
        f'default_ulimits = ["nofile={files}:{files}", "nproc={processes}:{processes}"]\n'
        '[engine]\nruntime = "runc"\n',
        encoding="utf-8",
    )
    storage = folder / "storage.conf"
    storage.write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = "{folder}/storage"\nrunroot = "{folder}/run"\n', encoding="utf-8"
    )
    return {"CONTAINERS_CONF": str(containers), "CONTAINERS_STORAGE_CONF": str(storage)}


def _buildah(*arguments: str) -> str:
    environment = {**_environment(), "TMPDIR": os.environ.get("TMPDIR", "/tmp")}
    return run(["buildah", *arguments], environment=environment, seconds=_SECONDS)
