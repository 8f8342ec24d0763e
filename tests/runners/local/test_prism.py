from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from runners.local import prism
from runners.local.free_ports import HOST, free_port
from runners.local.prism import PrismUnavailableError, cached_binary, download_url, locate_prism

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "beam-serving" / "prism"


@pytest.fixture
def refused_download(monkeypatch: pytest.MonkeyPatch) -> None:
    """The download fails, because its proxy does not exist."""
    refuse_download(monkeypatch.setenv)


def refuse_download(set_variable: object) -> None:
    assert callable(set_variable)
    for name in ("https_proxy", "HTTPS_PROXY"):
        set_variable(name, f"http://{HOST}:{free_port()}")
    for name in ("no_proxy", "NO_PROXY"):
        set_variable(name, "")


def fake_go(folder: Path, script: str) -> Path:
    folder.mkdir(exist_ok=True)
    go = folder / "go"
    go.write_text(f"#!/bin/sh\n{script}\n")
    go.chmod(0o755)
    return folder


def test_the_binary_is_prism_and_runs(prism_location: Path) -> None:
    done = subprocess.run([prism_location, "--help"], capture_output=True, text=True, timeout=60)
    assert "-job_port" in done.stdout + done.stderr


def test_it_lies_in_the_cache_of_its_version_outside_the_source_tree(prism_location: Path) -> None:
    import apache_beam

    assert prism_location == cached_binary(apache_beam.__version__)
    assert ROOT not in prism_location.parents


def test_as_a_program_it_prints_the_path(prism_location: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "runners.local.prism"], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == f"{prism_location}\n"
    assert done.returncode == 0


def test_a_given_binary_goes_before_all(prism_location: Path, empty_cache: Path, tmp_path: Path) -> None:
    mine = tmp_path / "my-prism"
    mine.symlink_to(prism_location)
    assert locate_prism(mine) == mine
    assert not empty_cache.exists()


def test_a_given_path_that_cannot_be_executed_is_named(tmp_path: Path) -> None:
    (tmp_path / "prism").write_text("no program")
    for path in (tmp_path / "prism", tmp_path / "absent", tmp_path):
        with pytest.raises(PrismUnavailableError, match=f"{path} is not an executable file"):
            locate_prism(path)


def test_the_address_is_beams_own() -> None:
    assert download_url("2.77.0").endswith(".zip")
    assert "2.77.0" in download_url("2.77.0")


def test_without_download_and_go_the_error_says_what_to_do(
    empty_cache: Path, refused_download: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PrismUnavailableError, match=r"go: not on PATH.*install a current Go.*--prism_location"):
        locate_prism()
    assert not list(empty_cache.rglob("prism"))


def test_a_silent_network_is_given_up(empty_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with socket.socket() as silent:
        silent.bind((HOST, 0))
        silent.listen(8)
        for name in ("https_proxy", "HTTPS_PROXY"):
            monkeypatch.setenv(name, f"http://{HOST}:{silent.getsockname()[1]}")
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.setenv(name, "")
        with pytest.raises(PrismUnavailableError, match="timed out"):
            locate_prism(network_timeout=0.3)


def test_what_go_says_reaches_the_error(
    empty_cache: Path, refused_download: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(fake_go(tmp_path / "bin", "echo no space left; exit 1")))
    with pytest.raises(PrismUnavailableError, match="no space left"):
        locate_prism()
    assert not list(empty_cache.rglob("prism"))


def test_a_release_archive_becomes_the_binary(
    prism_location: Path, empty_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = tmp_path / "apache_beam-v2.77.0-prism-linux-amd64.zip"
    with zipfile.ZipFile(archive, "w") as writing:
        writing.writestr(archive.stem, "#!/bin/sh\necho released\n")
    monkeypatch.setattr(prism, "download_url", lambda version: archive.as_uri())
    found = locate_prism()
    assert subprocess.run([found], capture_output=True, text=True).stdout == "released\n"
    assert [path.name for path in sorted(found.parent.iterdir())] == ["lock", "prism"]


def test_of_several_processes_one_builds(prism_location: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A stand-in for the compiler that takes long enough for all to meet, and then returns the real binary.
    calls = tmp_path / "calls"
    copy = f'echo x >> "{calls}"; sleep 1; cp "{prism_location}" "$GOBIN/prism"'
    environment = dict(os.environ, XDG_CACHE_HOME=str(tmp_path / "cache"))
    environment["PATH"] = f"{fake_go(tmp_path / 'bin', copy)}{os.pathsep}{os.environ['PATH']}"
    refuse_download(environment.__setitem__)
    command = [sys.executable, "-m", "runners.local.prism"]
    starts = [
        subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    printed = {process.communicate(timeout=120)[0] for process in starts}
    assert len(printed) == 1
    assert shutil.which(printed.pop().strip()) is not None
    assert calls.read_text() == "x\n"
