"""The Dockerfiles: linted, pinned, and in step with what they build from."""

from __future__ import annotations

import re
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.flink.kubernetes.fetched import python_packages
from tests.flink.kubernetes.overlays import ROOT
from tests.test_lock import LOCK

IMAGES = ROOT / "flink" / "images"
NAMES = tuple(sorted(path.parent.name for path in IMAGES.glob("*/Dockerfile")))
every_image = pytest.mark.parametrize("name", NAMES)


def text(name: str) -> str:
    return (IMAGES / name / "Dockerfile").read_text()


def lint(content: str) -> str:
    """What hadolint says, down to matters of style."""
    hadolint = python_packages() / "bin" / "hadolint"
    command = [str(hadolint), "--no-color", "--failure-threshold", "style", "-"]
    done = subprocess.run(command, input=content, capture_output=True, text=True, timeout=60)
    assert (done.returncode == 0) == (not done.stdout), done.stdout + done.stderr
    return done.stdout


def copied(name: str) -> list[str]:
    """What is copied out of the repository."""
    lines = re.findall(r"^COPY (?!--from)(.+) \S+$", text(name), re.MULTILINE)
    return [path for line in lines for path in line.split()]


def test_there_are_two() -> None:
    assert NAMES == ("flink", "worker")


@every_image
def test_it_is_linted(name: str) -> None:
    assert lint(text(name)) == ""


@pytest.mark.parametrize(
    ("damage", "rule"),
    [
        (lambda content: re.sub(r"^FROM (\S+):\S+", r"FROM \1", content, flags=re.MULTILINE), "DL3006"),
        (lambda content: re.sub(r"^WORKDIR .+$", "WORKDIR here", content, flags=re.MULTILINE), "DL3000"),
        (lambda content: content + "USER root\n", "DL3002"),
        (lambda content: content.replace("RUN ", "RUNN ", 1), "missing whitespace"),
    ],
)
def test_the_linter_tells_what_is_wrong(damage: object, rule: str) -> None:
    assert callable(damage)
    assert rule in lint(damage(text("worker"))) or rule in lint(damage(text("flink")))


@every_image
def test_it_is_made_in_stages_of_pinned_images_and_ends_as_a_numbered_user(name: str) -> None:
    bases = re.findall(r"^FROM (\S+)", text(name), re.MULTILINE)
    assert len(bases) > 1
    for base in bases:
        assert re.search(r":\d+\.\d+\.\d+", base), base
    user = re.findall(r"^USER (\d+):\d+$", text(name), re.MULTILINE)
    assert len(user) == 1
    assert int(user[0]) > 0


@every_image
def test_all_that_it_copies_is_there_and_not_ignored(name: str) -> None:
    allowed = [line[1:] for line in (IMAGES / name / "Dockerfile.dockerignore").read_text().split() if line[0] == "!"]
    assert copied(name)
    for path in copied(name):
        assert (ROOT / path).exists(), path
        assert path.removeprefix("./") in allowed, path


def test_the_job_server_is_copied_from_where_maven_puts_it_to_where_the_manifests_take_it() -> None:
    pom = (ROOT / "flink/job-server/pom.xml").read_text()
    jar = re.search(r"<job.server.jar>\$\{project.build.directory\}/(.+?)<", pom)
    assert jar
    copy = re.search(r"^COPY --from=job-server \S+ /build/target/(\S+) (\S+)$", text("flink"), re.MULTILINE)
    assert copy
    assert copy[1] == jar[1]
    assert f"{copy[2]}{jar[1]}" in (ROOT / "flink/kubernetes/base/flink-deployment.yaml").read_text()


def test_the_worker_is_the_pool_that_the_tests_on_a_real_cluster_use() -> None:
    assert 'ENTRYPOINT ["python", "-m", "runners.worker.pool"]' in text("worker")
    assert find_spec("runners.worker.pool") is not None


@pytest.mark.parametrize("dockerfile", ["flink/images/worker/Dockerfile", "dataflow/Dockerfile"])
def test_python_packages_are_installed_as_the_lock_file_pins_them(dockerfile: str) -> None:
    content = (ROOT / dockerfile).read_text()
    assert re.search(rf"^COPY {LOCK.name} ", content, re.MULTILINE)
    lines = content.replace("\\\n", " ")
    installs = re.findall(r"pip (?:--python \S+ )?install (.+?)(?:&&|\Z)", lines, re.DOTALL)
    (resolving,) = (options for options in installs if "--no-deps --no-index" not in options)
    assert re.search(rf"--constraint (?:\S*/)?{LOCK.name} ", resolving)


def test_a_changed_source_does_not_install_the_packages_again() -> None:
    stages = re.split(r"^FROM ", text("worker"), flags=re.MULTILINE)
    (packages,) = (stage for stage in stages if "--constraint" in stage)
    assert not re.search(r"^COPY .*\b(beam_pipeline|models|runners|transforms)\b", packages, re.MULTILINE)


def test_the_wheel_is_made_of_what_setup_finds() -> None:
    packages = re.search(r"find_packages\(\s*include=\[(.+?)\]", Path(ROOT / "setup.py").read_text())
    assert packages
    assert {name.strip(' "*') for name in packages[1].split(",")} <= set(copied("worker"))
