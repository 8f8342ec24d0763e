"""The jars of H2O, built by Maven into an empty cache."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from models.scorers.h2o_mojo.jars import FOLDER_VARIABLE, OUR_JAR, checked_jars, usable_jars
from runners.local import h2o_jars


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache for this test only."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    return tmp_path / "cache"


def test_they_are_built_once_and_again_when_one_is_damaged(
    empty_cache: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: h2o_jars.h2o_jars(), range(2))
    assert first == second
    assert first.is_relative_to(empty_cache)
    assert capfd.readouterr().err.count("Downloading H2O's genmodel") == 1
    assert usable_jars() == checked_jars(first)
    assert {path.name for path in first.parent.iterdir()} == {first.name, f"{first.name}.lock"}

    (first / OUR_JAR).unlink()
    # A folder that a user names is read, and never replaced.
    monkeypatch.setenv(FOLDER_VARIABLE, str(empty_cache.parent))
    assert h2o_jars.main() == 0
    assert capfd.readouterr().out == f"{first}\n"
    assert checked_jars(first)
    assert empty_cache.is_dir()


def test_a_machine_without_maven_is_told_what_to_install(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(empty_cache))
    assert h2o_jars.main() == 1
    assert "the model type h2o-mojo needs it: install Maven" in capsys.readouterr().err
