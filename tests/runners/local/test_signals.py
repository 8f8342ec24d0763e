from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from runners.local.signals import STOPPING, interrupted_by_signals, set_at_signals

SECONDS = 30.0

WAITS_FOR_EVENT = """
from runners.local.signals import set_at_signals
stop = set_at_signals(lambda number: print(number.name, flush=True))
print("up", flush=True)
stop.wait()
print("ended")
"""
# Another process sends signals at its own pace, so that some arrive between any two instructions of the wait.
WAITS_UNDER_FIRE = """
import os, subprocess, sys, time
from runners.local.signals import set_at_signals
stop = set_at_signals()
fire = "import os, time\\nwhile True: os.kill({}, 15); time.sleep(0.0002)".format(os.getpid())
with subprocess.Popen([sys.executable, "-c", fire]) as sender:
    deadline = time.monotonic() + 5.0
    while time.monotonic() < deadline:
        stop._is_set = False
        stop.wait(0.00002)
    sender.kill()
print("ended")
"""
WAITS_INSIDE = """
import time
from runners.local.signals import interrupted_by_signals
try:
    with interrupted_by_signals():
        print("up", flush=True)
        time.sleep(600)
except KeyboardInterrupt:
    print("ended")
"""


@pytest.mark.parametrize("number", STOPPING)
@pytest.mark.parametrize("program", [WAITS_FOR_EVENT, WAITS_INSIDE])
def test_both_signals_end_a_program_that_was_started_with_them_ignored(program: str, number: signal.Signals) -> None:
    with subprocess.Popen(
        ["sh", "-c", "trap '' INT TERM; exec \"$@\"", "sh", sys.executable, "-c", program],
        cwd=Path(__file__).parents[3],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        process.send_signal(number)
        try:
            said, _ = process.communicate(timeout=SECONDS)
        finally:
            process.kill()
    assert said.endswith("ended\n")
    assert process.returncode == 0


def test_a_signal_at_any_moment_of_the_wait_does_not_block_it() -> None:
    root = Path(__file__).parents[3]
    command = [sys.executable, "-c", WAITS_UNDER_FIRE]
    run = subprocess.run(command, cwd=root, capture_output=True, timeout=SECONDS, text=True)
    assert (run.stdout, run.returncode) == ("ended\n", 0), run.stderr


def test_the_handlers_from_before_come_back() -> None:
    before = [signal.getsignal(number) for number in STOPPING]
    with interrupted_by_signals():
        assert [signal.getsignal(number) for number in STOPPING] != before
    assert [signal.getsignal(number) for number in STOPPING] == before


def test_a_further_signal_interrupts_unless_it_is_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interrupted_by_signals(signal.SIGHUP):
            signal.raise_signal(signal.SIGHUP)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        with pytest.raises(KeyboardInterrupt), interrupted_by_signals(signal.SIGHUP):
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_the_event_is_set_after_the_callback() -> None:
    before = {number: signal.getsignal(number) for number in STOPPING}
    seen: list[tuple[signal.Signals, bool]] = []
    try:
        stop = set_at_signals(lambda number: seen.append((number, stop.is_set())))
        signal.raise_signal(signal.SIGTERM)
        assert stop.is_set()
        assert seen == [(signal.SIGTERM, False)]
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_outside_the_main_thread_it_changes_nothing() -> None:
    before = signal.getsignal(signal.SIGINT)
    inside: list[object] = []

    def run() -> None:
        with interrupted_by_signals():
            inside.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert inside == [before]
