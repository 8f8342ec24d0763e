"""The cluster's programs, built by Go from their public modules, once per version, into our cache folder."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from flink.cluster import versions
from flink.cluster.commands import run
from flink.cluster.errors import MissingPartError
from runners.local.cache_folder import announce, cache_folder, locked

_SOURCES = Path(__file__).with_name("go")
# Kubernetes takes a quarter of an hour on two cores.
_SECONDS = 3600.0
# Without cgo, the programs need nothing of the machine's libraries. No other toolchain is downloaded.
_ENVIRONMENT = {"CGO_ENABLED": "0", "GOFLAGS": "-mod=mod -buildvcs=false", "GOTOOLCHAIN": "local"}


@dataclass(frozen=True)
class Program:
    """A program that is built from Go modules.

    Attributes:
      name: the folder with its source, and the name of the built file.
      module: the Go module that it consists of.
      version: the version of the module.
      minutes: about how long building takes on two cores.
      links: the names by which the file is started, if these differ from its own.
    """

    name: str
    module: str
    version: str
    minutes: int
    links: tuple[str, ...] = ()

    @property
    def file(self) -> Path:
        """The built file."""
        source = (_SOURCES / self.name / "main.go").read_bytes()
        key = hashlib.sha256(f"{self.module}@v{self.version} ".encode() + source).hexdigest()[:12]
        return cache_folder("kubernetes", "binaries", f"{self.name}-{self.version}-{key}") / self.name


KUBERNETES = Program(
    "kubernetes",
    "k8s.io/kubernetes",
    versions.KUBERNETES,
    15,
    ("etcd", "kube-apiserver", "kube-controller-manager", "kube-proxy", "kube-scheduler", "kubectl", "kubelet"),
)
COREDNS = Program("coredns", "github.com/coredns/coredns", versions.COREDNS, 5)
KUBE_ROUTER = Program("kube-router", "github.com/cloudnativelabs/kube-router/v2", versions.KUBE_ROUTER, 7)
PROGRAMS = (KUBERNETES, COREDNS, KUBE_ROUTER)


def missing() -> list[Program]:
    """The programs that are not in the cache."""
    return [program for program in PROGRAMS if not program.file.is_file()]


def build_all() -> None:
    """Builds the programs that are not in the cache; raises ClusterError when one cannot be built."""
    for program in PROGRAMS:
        build(program)


def build(program: Program) -> Path:
    """The folder with a program and its links, which is built unless it is in the cache."""
    folder = program.file.parent
    if not program.file.is_file():
        with locked(folder.with_name(f"{folder.name}.lock"), f"building {program.name}"):
            if not program.file.is_file():
                _build(program, folder)
    return folder


def _build(program: Program, folder: Path) -> None:
    announce(f"Building {program.name} {program.version} with Go (about {program.minutes} minutes, only once)")
    began = time.monotonic()
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        source = Path(temporary, "source")
        built = Path(temporary, "built")
        shutil.copytree(_SOURCES / program.name, source)
        (source / "go.mod").write_text(_GO_MOD.get(program.name, _go_mod)(program), encoding="utf-8")
        go("mod", "tidy", source=source)
        flags = f"-s -w {_LINKER_FLAGS.get(program.name, '')}"
        go("build", "-trimpath", "-ldflags", flags, "-o", str(built / program.name), ".", source=source)
        for link in program.links:
            (built / link).symlink_to(program.name)
        built.replace(folder)
    announce(f"Built {program.name} in {time.monotonic() - began:.0f} s: {program.file.stat().st_size / 1e6:.0f} MB")


def go(*arguments: str, source: Path) -> str:
    """Runs Go in a folder, for programs without cgo; raises MissingPartError without Go, ClusterError if it fails."""
    if shutil.which("go") is None:
        raise MissingPartError("go is not on PATH: install Go (https://go.dev/dl), 1.26 or newer")
    return run(["go", *arguments], folder=source, environment=_ENVIRONMENT, seconds=_SECONDS)


def module_folder(module: str, version: str) -> Path:
    """The folder with the sources of a Go module, which is downloaded unless Go has it; it must not be written to."""
    return Path(_downloaded(module, version)["Dir"])


def _downloaded(module: str, version: str) -> dict[str, str]:
    found: dict[str, str] = json.loads(go("mod", "download", "-json", f"{module}@v{version}", source=_SOURCES))
    return found


def _go_mod(program: Program) -> str:
    return f"module beam-serving/{program.name}\nrequire {program.module} v{program.version}\n"


def _kubernetes_go_mod(program: Program) -> str:
    """A go.mod in which Kubernetes' parts are replaced by their published versions, not by neighboring folders."""
    theirs = Path(_downloaded(program.module, program.version)["GoMod"]).read_text(encoding="utf-8")
    settings = "\n".join(re.findall(r"^(?:go |godebug ).*$", theirs, flags=re.MULTILINE))
    parts = re.findall(r"^\s*(k8s\.io/[\w-]+) => \./staging/", theirs, flags=re.MULTILINE)
    version = f"v0.{program.version.partition('.')[2]}"
    replaced = "\n".join(f"  {part} => {part} {version}" for part in parts if "sample" not in part)
    return f"{_go_mod(program)}{settings}\nreplace (\n{replaced}\n)\n"


_GO_MOD: dict[str, Callable[[Program], str]] = {"kubernetes": _kubernetes_go_mod}
# The programs report their version from there, and kubectl compares it with the server's.
_LINKER_FLAGS = {
    "kubernetes": " ".join(
        f"-X k8s.io/{package}.{name}={value}"
        for package in ("component-base/version", "client-go/pkg/version")
        for name, value in (
            ("gitVersion", f"v{versions.KUBERNETES}"),
            ("gitMajor", versions.KUBERNETES.split(".")[0]),
            ("gitMinor", versions.KUBERNETES.split(".")[1]),
        )
    )
}
