"""The wheel in its own environment, used from outside the source tree, as by workers and users."""

from __future__ import annotations

import importlib
import inspect
import os
import pkgutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from itertools import product
from pathlib import Path
from types import ModuleType
from typing import get_args

import apache_beam as beam
import pytest
from apache_beam.internal import pickler
from apache_beam.pipeline import AppliedPTransform, PipelineVisitor

from beam_pipeline.graph import build
from beam_pipeline.options import ServingOptions
from models.runner_facts import Firing, Frontiers
from runners.worker.wheel import build_wheel

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("beam_pipeline", "models", "runners", "transforms")

OPTIONS = ServingOptions("localhost:1", "records", "models", "results", "letters", "wine", status_topic="status")
OURS = {
    "CheckDescriptors",
    "CommitSpans",
    "FindPartitions",
    "JoinSpans",
    "ProduceMessages",
    "ReadPartition",
    "ScoreBatch",
}

UNPICKLE = """
import pathlib, sys
from apache_beam.internal import pickler
for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    do_fn = pickler.loads(path.read_bytes())
    print(path.name, sys.modules[type(do_fn).__module__].__file__)
"""


@pytest.fixture(scope="module")
def clean_environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with our wheel really installed; it borrows the required packages from this environment."""
    folder = tmp_path_factory.mktemp("clean")
    wheel = build_wheel()
    environment = folder / "environment"
    _run([sys.executable, "-m", "venv", str(environment)], folder)
    python = str(environment / "bin" / "python")
    _run([python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", str(wheel)], folder)
    # A path in a .pth file is searched, but the .pth files that lie there are not read: so the editable install of
    # this checkout, if there is one, is not borrowed too.
    (_site_packages(python, folder) / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return environment


def _run(command: list[str], folder: Path) -> str:
    """Runs a command outside the source tree and without its path; returns its output."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{command} failed:\n{done.stdout}{done.stderr}"
    return done.stdout


def _site_packages(python: str, folder: Path) -> Path:
    return Path(_run([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], folder).strip())


def test_the_command_line_answers(clean_environment: Path, tmp_path: Path) -> None:
    assert "publish, list" in _run([str(clean_environment / "bin" / "beam-serving"), "--help"], tmp_path)


def test_the_demo_stays_in_the_source_tree_and_its_command_says_so(clean_environment: Path, tmp_path: Path) -> None:
    python = str(clean_environment / "bin" / "python")
    assert not (_site_packages(python, tmp_path) / "beam_pipeline" / "demo").exists()
    command = [str(clean_environment / "bin" / "beam-serving"), "demo"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert "is part of the source tree" in done.stderr


def test_records_are_generated_without_the_demo(clean_environment: Path, tmp_path: Path) -> None:
    code = "from beam_pipeline.publishing.record_generators import wine; print(next(wine(0)).row['alcohol'])"
    assert float(_run([str(clean_environment / "bin" / "python"), "-c", code], tmp_path)) > 8


def test_package_data_is_installed(clean_environment: Path, tmp_path: Path) -> None:
    python = str(clean_environment / "bin" / "python")
    installed = _site_packages(python, tmp_path)
    data = [path.relative_to(ROOT) for path in (ROOT / "models" / "schemas").glob("*.avsc")]
    assert data
    data += [path.relative_to(ROOT) for path in (ROOT / "beam_pipeline" / "dashboard" / "static").rglob("*.*")]
    for path in [*data, Path("runners/local/kafka/pom.xml"), *(Path(package, "py.typed") for package in PACKAGES)]:
        assert (installed / path).is_file(), f"{path} is not in the wheel: name it in package_data of setup.py"
    code = "from models.schemas import bundled_schema; print(bundled_schema('model_descriptor')['name'])"
    assert "ModelDescriptor" in _run([python, "-c", code], tmp_path)


def test_nothing_else_is_installed(clean_environment: Path, tmp_path: Path) -> None:
    installed = _site_packages(str(clean_environment / "bin" / "python"), tmp_path)
    (record,) = installed.glob("beam_serving-*.dist-info/RECORD")
    tops = {line.split("/")[0] for line in record.read_text().splitlines()}
    assert {top for top in tops if not top.startswith(("beam_serving-", ".."))} == set(PACKAGES)


def do_fns() -> list[beam.DoFn]:
    """Every DoFn of the graph, both ours and those in Beam's own transforms, for each kind of runner."""
    found = _DoFns()
    for firing, frontiers in product(get_args(Firing), get_args(Frontiers)):
        pipeline = beam.Pipeline()
        build(pipeline, OPTIONS, firing, frontiers)
        pipeline.visit(found)
    return found.instances


class _DoFns(PipelineVisitor):
    def __init__(self) -> None:
        self.instances: list[beam.DoFn] = []

    def visit_transform(self, transform_node: AppliedPTransform) -> None:
        if isinstance(transform_node.transform, beam.ParDo):
            self.instances.append(transform_node.transform.fn)


def unpickled_elsewhere(instances: Iterable[beam.DoFn], environment: Path, folder: Path) -> dict[str, str]:
    """Pickles the DoFns here as Beam does, unpickles them in the environment; returns the file of each class there."""
    pickles = folder / "pickles"
    pickles.mkdir()
    for number, instance in enumerate(instances):
        (pickles / f"{number:03}-{type(instance).__name__}").write_bytes(pickler.dumps(instance))
    printed = _run([str(environment / "bin" / "python"), "-c", UNPICKLE, str(pickles)], folder)
    return dict(line.split(" ", 1) for line in printed.splitlines())


def test_every_do_fn_of_the_graph_unpickles_outside_of_the_source_tree(clean_environment: Path, tmp_path: Path) -> None:
    instances = do_fns()
    names = {type(instance).__name__ for instance in instances}
    assert names >= OURS
    files = unpickled_elsewhere(instances, clean_environment, tmp_path)
    assert len(files) == len(instances)
    ours = {name.partition("-")[2]: file for name, file in files.items() if name.partition("-")[2] in OURS}
    assert ours.keys() == OURS
    assert all(Path(file).is_relative_to(clean_environment) for file in ours.values()), ours


def test_every_do_fn_of_ours_is_in_the_graph() -> None:
    """Ensures that the test above leaves none of them out."""
    in_transforms = {kind.__name__ for kind in _do_fn_classes()}
    assert in_transforms == OURS


def _do_fn_classes() -> Iterator[type[beam.DoFn]]:
    for package in ("transforms", "beam_pipeline"):
        for module in _modules(package):
            for _, kind in inspect.getmembers(module, inspect.isclass):
                # Not what only others are made of.
                if issubclass(kind, beam.DoFn) and kind.__module__ == module.__name__ and "process" in vars(kind):
                    yield kind


def _modules(package: str) -> Iterator[ModuleType]:
    path = importlib.import_module(package).__path__
    for found in pkgutil.walk_packages(path, f"{package}."):
        if not found.name.endswith("__main__"):
            yield importlib.import_module(found.name)
