from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from runners.local.server_process import ServerProcess

PATIENCE_SECONDS = 30.0

# A server with a child of its own, which would outlive it.
SERVER = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print("child", child.pid, flush=True)
time.sleep(600)
"""


def eventually(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


def gone(process_id: int) -> bool:
    try:
        return bool(psutil.Process(process_id).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    process = ServerProcess([sys.executable, "-c", SERVER], tmp_path / "server.out")
    assert eventually(lambda: "child" in process.log_end())
    yield process
    process.kill()


def child_of(server: ServerProcess) -> int:
    return int(server.log_end().split()[-1])


def test_what_it_started_is_told(server: ServerProcess) -> None:
    assert server.running
    assert server.children() == [child_of(server)]


def test_a_child_that_ended_is_not_told(server: ServerProcess) -> None:
    psutil.Process(child_of(server)).kill()
    assert eventually(lambda: server.children() == [])


@pytest.mark.parametrize("end", [ServerProcess.kill, lambda server: server.stop(10)])
def test_it_ends_with_all_that_it_started(server: ServerProcess, end: Callable[[ServerProcess], None]) -> None:
    child = child_of(server)
    end(server)
    assert not server.running
    assert eventually(lambda: gone(child))
    end(server)


def test_who_does_not_stop_is_killed(tmp_path: Path) -> None:
    deaf = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
    )
    server = ServerProcess([sys.executable, "-c", deaf], tmp_path / "deaf.out")
    assert eventually(lambda: "deaf" in server.log_end())
    server.stop(0.2)
    assert not server.running


def test_it_and_its_children_end_with_this_process_even_when_that_is_killed(tmp_path: Path) -> None:
    program = f"""
import pathlib, sys, time
from runners.local.server_process import ServerProcess
server = ServerProcess([sys.executable, "-c", {SERVER!r}], pathlib.Path(sys.argv[1]))
while "child" not in server.log_end():
    time.sleep(0.05)
print(server.process_id, server.log_end().split()[-1], flush=True)
time.sleep(600)
"""
    command = [sys.executable, "-c", program, str(tmp_path / "server.out")]
    parent = subprocess.Popen(command, cwd=Path(__file__).parents[3], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    started = [int(word) for word in parent.stdout.readline().split()]
    assert len(started) == 2
    assert not any(gone(process_id) for process_id in started)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    assert eventually(lambda: all(gone(process_id) for process_id in started))


def test_its_environment_is_ours_and_what_is_added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OURS", "here")
    program = "import os; print(os.environ['OURS'], os.environ['ADDED'])"
    server = ServerProcess([sys.executable, "-c", program], tmp_path / "server.out", {"ADDED": "there"})
    assert eventually(lambda: not server.running)
    assert server.log_end() == "here there\n"
    server.kill()


def test_who_waits_for_its_end_gets_its_exit_code(tmp_path: Path) -> None:
    process = ServerProcess([sys.executable, "-c", "raise SystemExit(3)"], tmp_path / "server.out")
    assert process.wait() == 3
    process.kill()
