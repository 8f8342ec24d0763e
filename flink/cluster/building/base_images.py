"""The images that ours start from, made from package registries, for machines that cannot pull the originals.

They have the originals' names, users, folders and entry points, so our Dockerfiles and manifests are used as they are.
They are for trying out and testing; production images are built on the originals.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from flink.cluster import versions
from flink.cluster.building import container_images
from flink.cluster.commands import run
from flink.cluster.errors import ClusterError
from runners.local.cache_folder import announce, cache_folder, locked

_FOLDER = Path(__file__).with_name("images")
_LIBRARY = "docker.io/library"
_SECONDS = 900.0
PAUSE = f"registry.k8s.io/pause:{versions.PAUSE}"
OPERATOR = f"docker.io/apache/flink-kubernetes-operator:{versions.FLINK_OPERATOR}"


@dataclass(frozen=True)
class BaseImage:
    """An image that is made from package registries.

    Attributes:
      name: the full name.
      folder: the folder of its Dockerfile in `images`.
      target: the stage of the Dockerfile; empty for the last one.
      prepare: puts files that the Dockerfile copies into its folder.
    """

    name: str
    folder: str
    target: str = ""
    prepare: Callable[[Path], None] = lambda folder: None


def base_images() -> list[BaseImage]:
    """All base images, each after those that it starts from."""
    wanted = [name for image in ("flink", "worker") for name in versions.base_images(_dockerfile(image))]
    return [
        BaseImage(f"{_LIBRARY}/debian:bookworm-slim", "debian", prepare=_debian),
        BaseImage(PAUSE, "pause", prepare=_pause),
        *(_like(name) for name in dict.fromkeys(wanted)),
        BaseImage(OPERATOR, "operator", prepare=_operator),
    ]


def build_all() -> None:
    """Builds the base images that are not in the cache; raises ClusterError when one cannot be built."""
    with locked(cache_folder("kubernetes", "images.lock"), "building base images"):
        known = container_images.names()
        for image in base_images():
            if image.name not in known:
                _build(image)


def missing() -> list[str]:
    """The names of the base images that are not in the cache."""
    known = container_images.names()
    return [image.name for image in base_images() if image.name not in known]


def _dockerfile(image: str) -> Path:
    return versions.FLINK_FOLDER / "images" / image / "Dockerfile"


def _like(name: str) -> BaseImage:
    full = f"{_LIBRARY}/{name}"
    kind = name.partition(":")[0]
    if kind == "python":
        return BaseImage(full, "python", target="slim" if "slim" in name else "full")
    return BaseImage(full, kind, prepare=_flink if kind == "flink" else BaseImage.prepare)


def _build(image: BaseImage) -> None:
    announce(f"Building the image {image.name} (a minute or two, only once)")
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        context = Path(temporary, image.folder)
        shutil.copytree(_FOLDER / image.folder, context)
        image.prepare(context)
        container_images.build(context, image.name, target=image.target, settings=False)
    announce(f"Built {image.name} in {time.monotonic() - began:.0f} s")


def _debian(folder: Path) -> None:
    left_out = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "man", "locale")]
    include = "--include=ca-certificates,netbase,tzdata"
    run(["mmdebstrap", "--quiet", "--variant=minbase", include, *left_out, "bookworm", folder / "debian.tar"])


def _pause(folder: Path) -> None:
    run(["gcc", "-Os", "-static", "-s", "-o", folder / "pause", folder / "pause.c"])


def _operator(folder: Path) -> None:
    goal = "dependency:copy-dependencies"
    version = f"-Doperator.version={versions.FLINK_OPERATOR}"
    output = f"-DoutputDirectory={folder / 'jars'}"
    run(["mvn", "-q", "-B", "-f", folder / "pom.xml", goal, version, output, "-DincludeScope=runtime"])


def _flink(folder: Path) -> None:
    """Flink's distribution: `apache-flink` has bin and conf, `apache-flink-libraries` has lib, opt and plugins."""
    version = versions.flink_version()
    flink, packages = folder / "flink", folder / "packages"
    _download(packages, f"apache-flink-libraries=={version}", "--no-binary=:all:")
    platform = ("--python-version=3.11", "--platform=manylinux2014_x86_64")
    _download(packages, f"apache-flink=={version}", "--only-binary=:all:", *platform)
    (libraries,) = packages.glob("apache-flink-libraries-*.tar.gz")
    flink.mkdir()
    inside = f"apache-flink-libraries-{version}/deps"
    run(["tar", "--extract", "--file", libraries, "--strip-components=2", "--directory", flink, inside])
    (wheel,) = packages.glob("apache_flink-*.whl")
    run([sys.executable, "-m", "zipfile", "-e", wheel, packages / "wheel"])
    for name in ("bin", "conf"):
        shutil.copytree(packages / "wheel" / "pyflink" / name, flink / name, dirs_exist_ok=True)
    for script in (flink / "bin").iterdir():
        script.chmod(0o755)
    for name in ("licenses", "examples"):
        shutil.rmtree(flink / name, ignore_errors=True)
    for name in ("log", "usrlib"):
        (flink / name).mkdir()
    shutil.rmtree(packages)
    for plugin in ("s3-fs-hadoop", "gs-fs-hadoop"):
        _object_storage_plugin(flink / "opt", f"flink-{plugin}", version)


def _download(folder: Path, requirement: str, *options: str) -> None:
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    run([*pip, *options, "--dest", folder, requirement], seconds=_SECONDS)


def _object_storage_plugin(folder: Path, name: str, version: str) -> None:
    if any(folder.glob(f"{name}-*.jar")):
        return
    group = "org.apache.flink"
    try:
        run(["mvn", "-q", "-B", "dependency:get", "-Dtransitive=false", f"-Dartifact={group}:{name}:{version}"])
    except ClusterError:
        # Maven Central lacks some versions of the plugin for Google Cloud, which no cluster on one machine uses.
        announce(f"{name} {version} is not in Maven Central; the image gets a jar without content in its place")
        with tempfile.TemporaryDirectory() as empty:
            run(["jar", "--create", "--file", folder / f"{name}-{version}.jar", "-C", empty, "."])
    else:
        repository = Path.home() / ".m2" / "repository" / group.replace(".", "/")
        shutil.copy(repository / name / version / f"{name}-{version}.jar", folder)
