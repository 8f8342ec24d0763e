from __future__ import annotations

import os
import sys
import threading

import pytest

from models.artifacts.background import in_background


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux gives threads a priority of their own")
def test_only_the_thread_of_the_work_has_a_lower_priority() -> None:
    before = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    inside = in_background(lambda: os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
    assert inside > before or inside == 19
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == before


def test_a_failure_reaches_the_caller() -> None:
    def fail() -> None:
        raise LookupError("no such model")

    with pytest.raises(LookupError, match="no such model"):
        in_background(fail)
