"""`make kubernetes-demo`: it checks its own results, and fails with what did not happen as it should."""

from __future__ import annotations

import pytest

from flink.cluster import __main__ as command_line

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.mark.usefixtures("command")
def test_the_demo_runs_to_its_end(capfd: pytest.CaptureFixture[str]) -> None:
    assert command_line.main(["demo"]) == 0
    assert "is scoring again" in capfd.readouterr().out
