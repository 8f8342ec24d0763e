"""What these tests need of other projects, fetched once into our cache folder: tools and schemas.

Every fetch is done by the registry's ordinary client, in a pinned version that is part of the folder's name.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path

from runners.local.cache_folder import announce, cache_folder, locked

SECONDS = 600.0
HERE = Path(__file__).resolve().parent

KUSTOMIZE = "sigs.k8s.io/kustomize/kustomize/v5@v5.8.2"
PROMETHEUS_OPERATOR = "github.com/prometheus-operator/prometheus-operator@v0.85.0"


def fetched(name: str, key: str, make: Callable[[Path], None]) -> Path:
    """The folder `name` of the cache, filled by `make`: a new one gets its name when it is whole."""
    folder = cache_folder("flink-tests", f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:12]}")
    if not folder.is_dir():
        with locked(folder.with_name(f"{folder.name}.lock"), f"fetching {name}"):
            if not folder.is_dir():
                announce(f"Fetching {name}")
                temporary = Path(tempfile.mkdtemp(dir=folder.parent))
                try:
                    make(temporary)
                    temporary.replace(folder)
                finally:
                    shutil.rmtree(temporary, ignore_errors=True)
    return folder


@cache
def python_packages() -> Path:
    """A folder to be searched for modules: the packages of requirements.txt."""
    requirements = HERE / "requirements.txt"

    def install(folder: Path) -> None:
        options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary", ":all:", "--no-compile"]
        run([sys.executable, "-m", "pip", "install", *options, "--target", str(folder), "-r", str(requirements)])

    key = f"{requirements.read_text()} {sys.version_info[:2]}"
    return fetched("python-packages", key, install)


@cache
def kustomize() -> tuple[str, ...]:
    """The command that renders a folder, which is its last argument: kubectl's, or else kustomize built by Go."""
    return _kubectl_kustomize() or (*_kustomize_by_go(), "build")


def _kubectl_kustomize() -> tuple[str, ...] | None:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        return None
    version = json.loads(run([kubectl, "version", "--client", "--output=json"])).get("kustomizeVersion", "v0")
    # Before kustomize 5, kubectl knew neither components nor labels as these manifests use them.
    return (kubectl, "kustomize") if int(version.removeprefix("v").split(".")[0]) >= 5 else None


def _kustomize_by_go() -> tuple[str]:
    def install(folder: Path) -> None:
        run(["go", "install", KUSTOMIZE], {"GOBIN": str(folder)})

    return (str(fetched("kustomize", KUSTOMIZE, install) / "kustomize"),)


@cache
def pod_monitor_crd() -> Path:
    """The Prometheus operator's CRD of PodMonitors, out of its Go module."""
    name = "monitoring.coreos.com_podmonitors.yaml"

    def copy(folder: Path) -> None:
        module = json.loads(run(["go", "mod", "download", "-json", PROMETHEUS_OPERATOR]))
        shutil.copy(Path(module["Dir"], "example", "prometheus-operator-crd", name), folder)

    return fetched("prometheus-operator", PROMETHEUS_OPERATOR, copy) / name


@cache
def maven_artifacts() -> Path:
    """The jars of pom.xml: CRDs of Flink's operator, options of Flink, what generates Strimzi's CRDs."""
    return fetched("maven-artifacts", (HERE / "pom.xml").read_text(), _copy_artifacts)


def _copy_artifacts(folder: Path) -> None:
    goal = "dependency:copy-dependencies"
    run(["mvn", "-q", "-B", "-f", str(HERE / "pom.xml"), goal, f"-DoutputDirectory={folder}"])


@cache
def strimzi_crds() -> Path:
    """The folder with Strimzi's CRDs of topics and users, written by Strimzi's own generator."""
    kinds = {"topic.yaml": "topic.KafkaTopic", "user.yaml": "user.KafkaUser"}

    def generate(folder: Path) -> None:
        classes = [f"io.strimzi.api.kafka.model.{kind}={folder / file}" for file, kind in kinds.items()]
        program = "io.strimzi.crdgenerator.CrdGenerator"
        run(["java", "-cp", f"{maven_artifacts()}/*", program, "--yaml", "--target-kube", "1.25+", *classes])

    return fetched("strimzi-crds", (HERE / "pom.xml").read_text(), generate)


def run(command: Sequence[str], environment: Mapping[str, str] | None = None) -> str:
    """Runs a command outside of the source tree and returns what it printed; fails with what it said."""
    program = shutil.which(command[0])
    assert program is not None, f"{command[0]} is not on PATH, and these tests fetch with it"
    variables = {**os.environ, **(environment or {})}
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [program, *command[1:]], cwd=folder, env=variables, capture_output=True, text=True, timeout=SECONDS
        )
    assert done.returncode == 0, f"{' '.join(command)} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout
