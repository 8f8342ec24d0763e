from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from runners.local.service import LocalService

ROOT = Path(__file__).parents[3]


class Service(LocalService):
    def __init__(self, work_folder: Path | None = None, *, fails: bool = False) -> None:
        super().__init__(work_folder, "beam-serving-test-")
        self.fails = fails
        self.ended: list[bool] = []

    def start(self) -> None:
        if self.fails:
            raise RuntimeError("did not start")

    def _end(self, *, in_order: bool) -> None:
        self.ended.append(in_order)


def test_a_temporary_folder_goes_when_it_is_closed_and_nothing_waits_for_order() -> None:
    with Service() as service:
        assert service.work_folder.is_dir()
    assert not service.work_folder.exists()
    assert service.ended == [False]


def test_a_folder_that_was_given_stays_and_what_writes_there_ends_in_order(tmp_path: Path) -> None:
    with Service(tmp_path) as service:
        pass
    assert tmp_path.is_dir()
    assert service.ended == [True]


def test_a_start_that_fails_leaves_nothing_behind() -> None:
    service = Service(fails=True)
    with pytest.raises(RuntimeError, match="did not start"), service:
        pass
    assert not service.work_folder.exists()
    assert service.ended == [False]


def test_a_fork_closes_nothing() -> None:
    with Service() as service:
        child = os.fork()
        if child == 0:
            service.close()
            os._exit(len(service.ended))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert service.work_folder.is_dir()


def test_the_exit_of_the_process_closes_it() -> None:
    program = """
from tests.runners.local.test_service import Service
service = Service()
print(service.work_folder, flush=True)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    folder = Path(done.stdout.strip())
    assert folder.name.startswith("beam-serving-test-")
    assert not folder.exists()
