"""The rules of tests/conftest.py, tried in separate test sessions."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

TESTS = Path(__file__).resolve().parent


def run_session(folder: Path, source: str, ci: str) -> subprocess.CompletedProcess[str]:
    shutil.copy(TESTS / "conftest.py", folder / "conftest.py")
    (folder / "test_it.py").write_text(source)
    (folder / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(folder)]
    environment = {**os.environ, "CI": ci, "PYTHONPATH": str(TESTS.parent)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


SKIPS = {
    "mark": "import pytest\n@pytest.mark.skip(reason='no java')\ndef test_a(): pass\n",
    "call": "import pytest\ndef test_a(): pytest.skip('no java')\n",
    "fixture": "import pytest\n@pytest.fixture\ndef f(): pytest.skip('no java')\ndef test_a(f): pass\n",
    "module": "import pytest\npytest.skip('no java', allow_module_level=True)\n",
    "xfail": "import pytest\n@pytest.mark.xfail(reason='no java')\ndef test_a(): assert False\n",
}


@pytest.mark.parametrize("source", SKIPS.values(), ids=SKIPS.keys())
def test_a_skipped_test_fails_in_ci(tmp_path: Path, source: str) -> None:
    done = run_session(tmp_path, source, ci="true")
    assert done.returncode != 0
    assert "counts as a failure with CI=true" in done.stdout
    assert "no java" in done.stdout


def test_a_skipped_test_is_no_failure_elsewhere(tmp_path: Path) -> None:
    assert run_session(tmp_path, SKIPS["mark"] + "def test_b(): pass\n", ci="").returncode == 0


def test_a_strict_expected_failure_is_allowed_in_ci(tmp_path: Path) -> None:
    source = "import pytest\n@pytest.mark.xfail(strict=True)\ndef test_a(): assert False\n"
    assert run_session(tmp_path, source, ci="true").returncode == 0


LEAVER = """
import subprocess, sys
def test_a(tmp_path):
    # The middle process ends at once: what it started is an orphan, whom no list of our children has.
    sleeper = "[sys.executable, '-c', 'import time; time.sleep(456)'], stdout=subprocess.DEVNULL"
    middle = f"import subprocess, sys; print(subprocess.Popen({sleeper}).pid)"
    orphan = subprocess.run([sys.executable, "-c", middle], stdout=subprocess.PIPE, text=True).stdout
    open("pids", "w").write(orphan)
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(123)"])
    open("pids", "a").write(str(child.pid))
"""


def test_a_process_left_behind_fails_the_run_and_is_named_and_ended(tmp_path: Path) -> None:
    done = run_session(tmp_path, LEAVER, ci="")
    assert done.returncode == 1, done.stdout
    assert "time.sleep(123)" in done.stdout
    assert "time.sleep(456)" in done.stdout
    assert "1 passed, 1 error" in done.stdout
    assert not [pid for pid in map(int, (tmp_path / "pids").read_text().split()) if psutil.pid_exists(pid)]
