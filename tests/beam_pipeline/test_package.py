"""The check that `beam_pipeline` makes on import: its sibling packages belong to this application."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def import_it(*search_path: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, search_path))}
    # Without site-packages, so that an installed copy of ours plays no part; the package needs nothing from there.
    command = [sys.executable, "-S", "-c", "import beam_pipeline, sys; print(*sorted(sys.modules))"]
    return subprocess.run(command, cwd="/", env=environment, capture_output=True, text=True)


def test_with_its_siblings_it_imports_and_loads_none_of_them() -> None:
    done = import_it(ROOT)
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.split())
    assert not loaded & {"models", "transforms", "runners", "apache_beam"}


@pytest.mark.parametrize("name", ["models", "transforms", "runners"])
@pytest.mark.parametrize("kind", ["package", "module", "namespace"])
def test_an_intruder_is_named(name: str, kind: str, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "beam_pipeline", tmp_path / "ours" / "beam_pipeline", ignore=shutil.ignore_patterns("demo"))
    for sibling in {"models", "transforms", "runners"} - {name}:
        (tmp_path / "ours" / sibling).mkdir()
        (tmp_path / "ours" / sibling / "__init__.py").touch()
    intruder = tmp_path / "theirs" / name
    intruder.parent.mkdir()
    if kind == "module":
        intruder = intruder.with_suffix(".py")
        intruder.touch()
    else:
        intruder.mkdir()
        if kind == "package":
            (intruder / "__init__.py").touch()
    done = import_it(tmp_path / "theirs", tmp_path / "ours")
    assert done.returncode != 0
    assert f"ImportError: beam_pipeline needs the package '{name}'" in done.stderr
    assert str(intruder) in done.stderr


def test_an_intruder_before_a_whole_installation_is_named(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "__init__.py").touch()
    done = import_it(tmp_path, ROOT)
    assert str(tmp_path / "models") in done.stderr
    assert done.returncode != 0


def test_a_missing_sibling_is_named(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "beam_pipeline", tmp_path / "beam_pipeline", ignore=shutil.ignore_patterns("demo"))
    done = import_it(tmp_path)
    assert "reinstall beam-serving" in done.stderr
    assert "'models'" in done.stderr
