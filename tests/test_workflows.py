"""The workflows of GitHub: linted, and the steps of ours that are shell, run with recorded programs.

No test can run them on GitHub.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.flink.kubernetes.fetched import fetched, run

ROOT = Path(__file__).resolve().parent.parent
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
ACTIONLINT = "github.com/rhysd/actionlint/cmd/actionlint@v1.7.12"
IMAGES = ROOT / ".github" / "workflows" / "images.yml"


def lint(path: Path) -> subprocess.CompletedProcess[str]:
    def install(folder: Path) -> None:
        run(["go", "install", ACTIONLINT], {"GOBIN": str(folder)})

    actionlint = fetched("actionlint", ACTIONLINT, install) / "actionlint"
    return subprocess.run([str(actionlint), "-no-color", str(path)], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_is_one_that_github_takes(path: Path) -> None:
    assert lint(path).stdout == ""


def test_the_linter_reports_what_is_wrong(tmp_path: Path) -> None:
    broken = tmp_path / "broken.yml"
    broken.write_text(IMAGES.read_text().replace("steps.build.outputs.digest", "steps.biuld.outputs.digest"))
    assert "biuld" in lint(broken).stdout


def job(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(IMAGES.read_text())["jobs"][name]
    return found


def step(job_name: str, name: str) -> dict[str, Any]:
    (found,) = (one for one in job(job_name)["steps"] if one.get("name", "").startswith(name))
    return dict(found)


def run_step(step: dict[str, Any], folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a step's script as GitHub does, with programs that are in the folder `bin` before all others."""
    variables = {**os.environ, "PATH": f"{folder}/bin:{os.environ['PATH']}", **environment}
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
    return subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, timeout=60)


def record(folder: Path, name: str, prints: str = "") -> None:
    """A program that records its arguments."""
    program = folder / "bin" / name
    program.parent.mkdir(exist_ok=True)
    program.write_text(f'#!/bin/sh\necho "{name} $*" >> {folder}/recorded\nprintf "{prints}"\n')
    program.chmod(0o755)


def test_every_dockerfile_of_the_images_is_built_for_each_architecture() -> None:
    matrix = job("build")["strategy"]["matrix"]
    assert set(matrix["image"]) == {path.parent.name for path in (ROOT / "flink" / "images").glob("*/Dockerfile")}
    assert {one["architecture"] for one in matrix["include"]} == set(matrix["architecture"])
    assert job("publish")["strategy"]["matrix"]["image"] == matrix["image"]
    (build,) = (one["with"] for one in job("build")["steps"] if one.get("uses", "").startswith("docker/build-push"))
    assert (build["sbom"], build["provenance"]) == (True, "mode=max")


def test_architectures_are_joined_under_one_tag_and_what_is_joined_is_signed(tmp_path: Path) -> None:
    record(tmp_path, "docker", "sha256:joined")
    record(tmp_path, "cosign")
    digests = tmp_path / "digests"
    digests.mkdir()
    for digest in ("aaa", "bbb"):
        (digests / digest).touch()
    script = {"run": f"cd digests\n{step('publish', 'Join')['run']}"}
    done = run_step(script, tmp_path, NAME="ghcr.io/o/r/flink", TAG="ghcr.io/o/r/flink:0.1.0")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "recorded").read_text().splitlines() == [
        "docker buildx imagetools create --tag ghcr.io/o/r/flink:0.1.0 "
        "ghcr.io/o/r/flink@sha256:aaa ghcr.io/o/r/flink@sha256:bbb",
        "docker buildx imagetools inspect ghcr.io/o/r/flink:0.1.0 --format {{.Manifest.Digest}}",
        "cosign sign --yes --recursive ghcr.io/o/r/flink@sha256:joined",
    ]


def test_the_digest_of_a_build_becomes_a_file(tmp_path: Path) -> None:
    done = run_step(step("build", "Keep"), tmp_path, DIGEST="sha256:abc", RUNNER_TEMP=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert [path.name for path in (tmp_path / "digests").iterdir()] == ["abc"]


@pytest.mark.parametrize("job_name", ["build", "publish"])
def test_a_name_has_no_capital_letters(tmp_path: Path, job_name: str) -> None:
    script = {"run": step(job_name, "Name")["run"].replace("${{ matrix.image }}", "flink")}
    output = tmp_path / "output"
    run_step(script, tmp_path, GITHUB_REPOSITORY="Some/Repo", GITHUB_OUTPUT=str(output))
    assert output.read_text() == "name=ghcr.io/some/repo/flink\n"


def test_a_tag_must_name_the_version_of_this_repository(tmp_path: Path) -> None:
    check = step("build", "A tag")
    (version,) = re.findall(r'^    version="(.+)",$', (ROOT / "setup.py").read_text(), re.MULTILINE)
    (tmp_path / "setup.py").write_text((ROOT / "setup.py").read_text())
    assert run_step(check, tmp_path, GITHUB_REF_NAME=f"v{version}").returncode == 0
    assert run_step(check, tmp_path, GITHUB_REF_NAME="v99.0.0").returncode == 1
