"""The Flex template's image, built from its own Dockerfile on look-alikes of its bases, and containers of it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from flink.cluster import machine, versions
from flink.cluster.building import base_images, container_images
from flink.cluster.commands import run
from runners.worker.wheel import build_wheel
from tests.flink.kubernetes.fetched import fetched
from tests.flink.kubernetes.fetched import run as run_outside

ROOT = Path(__file__).resolve().parents[3]
IMAGES = Path(__file__).with_name("images")
IMAGE = "localhost/beam-serving-dataflow:1"
LAUNCHER = "/opt/google/dataflow/python_template_launcher"
BOOT = "/opt/apache/beam/boot"
_ENDING_SECONDS = 30.0


def build(folder: Path) -> None:
    """Builds the image and its bases, in our cache of images; a quarter of an hour the first time.

    Args:
      folder: an empty folder for the files from which they are built.

    Raises:
      ClusterError: this machine lacks a program or a right, or a step fails.
    """
    machine.check_building()
    base_images.build_all()
    launcher, sdk = versions.base_images(ROOT / "dataflow" / "Dockerfile")
    container_images.build(IMAGES / "launcher", launcher, settings=False)
    context = folder / "sdk"
    shutil.copytree(IMAGES / "sdk", context)
    shutil.copy(ROOT / "requirements.lock.txt", context)
    shutil.copy(_boot(), context / "boot")
    container_images.build(context, f"docker.io/{_with_defaults(sdk)}")
    source = folder / "source"
    (source / "dist").mkdir(parents=True)
    shutil.copytree(ROOT / "dataflow", source / "dataflow")
    shutil.copy(ROOT / "requirements.lock.txt", source)
    shutil.copy(build_wheel(), source / "dist")
    container_images.build(source, IMAGE, dockerfile=source / "dataflow" / "Dockerfile")


def _with_defaults(name: str) -> str:
    """A name in a Dockerfile, with the defaults of its arguments."""
    arguments = dict(
        line.removeprefix("ARG ").split("=")
        for line in (ROOT / "dataflow/Dockerfile").read_text().splitlines()
        if line.startswith("ARG ")
    )
    for argument, value in arguments.items():
        name = name.replace(f"${{{argument}}}", value)
    return name


def _boot() -> Path:
    """Beam's own `boot`, built from its Go module in the version of Beam that is installed here."""
    from apache_beam.version import __version__

    module = f"github.com/apache/beam/sdks/v2/python/container@v{__version__}"

    def install(folder: Path) -> None:
        run_outside(["go", "install", module], {"GOBIN": str(folder)})

    return fetched("beam-boot", module, install) / "container"


class Container:
    """A container of the image, on the network of this machine; its root file system is its own."""

    def __init__(self, name: str) -> None:
        self._name = name

    def command(
        self, *words: str, environment: Mapping[str, str] | None = None, volumes: tuple[Path, ...] = ()
    ) -> list[str]:
        """The command of this machine that runs a command in the container, with the image's own environment."""
        options = [f"--env={name}={value}" for name, value in (environment or {}).items()]
        options += [f"--volume={volume}:{volume}" for volume in volumes]
        return ["buildah", "run", "--isolation=chroot", "--network=host", *options, self._name, "--", *words]

    def run(self, *words: str, environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Runs a command to its end."""
        command = self.command(*words, environment=environment)
        return subprocess.run(command, env=_variables(), capture_output=True, text=True, timeout=600)

    @contextmanager
    def running(self, *words: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
        """Runs a command for the block."""
        with log.open("wb") as out:
            process = subprocess.Popen(
                self.command(*words), env=_variables(), stdout=out, stderr=out, start_new_session=True
            )
        try:
            yield process
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(_ENDING_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


@contextmanager
def container() -> Iterator[Container]:
    """A new container, which is removed afterwards."""
    name = run(["buildah", "from", "--pull-never", IMAGE], environment=container_images._environment()).strip()
    try:
        yield Container(name)
    finally:
        run(["buildah", "rm", name], environment=container_images._environment())


def _variables() -> dict[str, str]:
    return {**os.environ, **container_images._environment()}


if __name__ == "__main__":
    build(Path(sys.argv[1]))
