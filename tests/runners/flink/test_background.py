"""How the process behind `make flink-up` ends, with a stand-in for the cluster; test_cluster.py starts real ones."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from runners.flink import __main__ as entry
from runners.local.signals import STOPPING

SERVE = """
import pathlib, sys
from runners.flink import background

class StandIn:
    rest_address, worker_pool_address, log_folder = "localhost:1", "localhost:2", pathlib.Path("logs")

    def __init__(self, settings):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *error):
        print("ended", flush=True)

def told(cluster):
    print("up", flush=True)
    background._state_file().touch()

background.LocalFlinkCluster = StandIn
background._write_state = told
from runners.flink import __main__ as entry
sys.exit(entry.main(["serve"]))
"""


@pytest.mark.parametrize("number", STOPPING)
def test_the_owner_of_a_cluster_ends_it_at_both_signals(tmp_path: Path, number: signal.Signals) -> None:
    command = ["sh", "-c", "trap '' INT; exec \"$@\"", "sh", sys.executable, "-c", SERVE]
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    root = Path(__file__).parents[3]
    with subprocess.Popen(command, cwd=root, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "up\n"
            process.send_signal(number)
            said, _ = process.communicate(timeout=30.0)
        finally:
            process.kill()
    assert (said, process.returncode) == ("ended\n", 0)


def test_an_interrupted_start_is_no_success(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> int:
        signal.raise_signal(signal.SIGTERM)
        return 0

    monkeypatch.setattr(entry, "_run", interrupted)
    assert entry.main(["up"]) == 130
