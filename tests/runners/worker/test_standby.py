from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runners.worker.standby import StandbyWorker

SECONDS = 20.0
# It writes what it is told into the file of its process id, as a worker would work.
PROGRAM = """
import os, pathlib, sys
from runners.worker.standby import wait_for_assignment
folder = pathlib.Path(sys.argv[1])
(folder / f"{os.getpid()}.waits").touch()
assignment = wait_for_assignment()
if assignment is not None:
    (folder / f"{os.getpid()}.works").write_text(f"{assignment.name} {assignment.control}")
"""


def wait_until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def standby(tmp_path: Path) -> Iterator[StandbyWorker]:
    worker = StandbyWorker([sys.executable, "-c", PROGRAM, str(tmp_path)], pause_seconds=0.5)
    yield worker
    worker.close()


def test_the_waiting_process_becomes_the_worker_and_another_one_waits_later(
    standby: StandbyWorker, tmp_path: Path
) -> None:
    wait_until(lambda: list(tmp_path.glob("*.waits")))
    process = standby.become("1-1", "localhost:1")
    assert process is not None
    assert standby.become("1-2", "localhost:1") is None  # the next one is not there yet
    assert process.wait(SECONDS) == 0
    assert (tmp_path / f"{process.pid}.works").read_text() == "1-1 localhost:1"
    wait_until(lambda: len(list(tmp_path.glob("*.waits"))) == 2)
    second = standby.become("1-3", "localhost:1")
    assert second is not None
    assert second.wait(SECONDS) == 0


def test_one_that_has_ended_is_not_handed_out(standby: StandbyWorker, tmp_path: Path) -> None:
    wait_until(lambda: list(tmp_path.glob("*.waits")))
    (path,) = tmp_path.glob("*.waits")
    subprocess.run(["kill", "-9", path.stem], check=True)
    time.sleep(0.3)
    assert standby.become("1-1", "localhost:1") is None
    wait_until(lambda: len(list(tmp_path.glob("*.waits"))) == 2)


def test_closing_ends_the_one_that_waits(standby: StandbyWorker, tmp_path: Path) -> None:
    wait_until(lambda: list(tmp_path.glob("*.waits")))
    (path,) = tmp_path.glob("*.waits")
    standby.close()
    assert not Path("/proc", path.stem).exists()
    assert standby.become("1-1", "localhost:1") is None
    time.sleep(0.8)
    assert len(list(tmp_path.glob("*.waits"))) == 1


def test_one_whose_pool_has_gone_ends() -> None:
    code = "from runners.worker.standby import wait_for_assignment; print(wait_for_assignment())"
    done = subprocess.run([sys.executable, "-c", code], input="", capture_output=True, text=True, timeout=SECONDS)
    assert done.stdout.strip() == "None"
    told = json.dumps({"name": "1-1", "control": "a:1"})
    done = subprocess.run([sys.executable, "-c", code], input=told, capture_output=True, text=True, timeout=SECONDS)
    assert "1-1" in done.stdout
