"""Flink's jars. The fetched files are small and synthetic; the tests of the cluster run the real ones."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from runners.flink import distribution as flink_distribution
from runners.flink.distribution import FlinkDistributionError
from runners.flink.jars import SOURCES
from runners.local.java_tools import pom_property

VERSION = pom_property(SOURCES / "pom.xml", "flink.distribution.version")
ROOT = f"apache-flink-libraries-{VERSION}"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "beam-serving" / "flink"


def offer(monkeypatch: pytest.MonkeyPatch, *names: str) -> list[str]:
    """Serves a package with these files from a package index; returns the requests."""
    asked: list[str] = []

    def download(version: str, folder: Path) -> None:
        asked.append(version)
        with tarfile.open(folder / f"{ROOT}.tar.gz", "w:gz") as archive:
            for name in names:
                archive.addfile(tarfile.TarInfo(f"{ROOT}/{name}"), io.BytesIO())

    monkeypatch.setattr(flink_distribution, "_download", download)
    return asked


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_what_the_cluster_needs_is_kept_and_fetched_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = offer(monkeypatch, "setup.py", "deps/lib/a.jar", "deps/plugins/b/b.jar", "deps/opt/c.jar")
    folder = flink_distribution.flink_distribution()
    assert folder == cache / VERSION
    assert files(folder) == {"lib/a.jar", "plugins/b/b.jar"}
    assert flink_distribution.flink_distribution() == folder
    assert asked == [VERSION]
    assert {path.name for path in cache.iterdir()} == {VERSION, f"{VERSION}.lock"}


def test_a_package_of_another_form_is_named(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, "deps/lib/a.jar")
    with pytest.raises(FlinkDistributionError, match=f"{VERSION} does not contain plugins"):
        flink_distribution.flink_distribution()
    assert not (cache / VERSION).exists()


def test_what_pip_says_is_told(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(cache))
    with pytest.raises(FlinkDistributionError, match=r"could not download (.|\n)*No matching distribution found"):
        flink_distribution.flink_distribution()
    assert not (cache / VERSION).exists()


def test_without_a_checkout_the_way_out_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flink_distribution, "SOURCES", tmp_path / "nowhere")
    with pytest.raises(FlinkDistributionError, match="does not exist: run from a checkout"):
        flink_distribution.flink_distribution()
