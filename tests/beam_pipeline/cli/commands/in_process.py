"""Commands that run in the process of a test."""

from __future__ import annotations

import pytest

from beam_pipeline.cli.command_line import main


def run(capture: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Runs a command; returns its exit status, and its output on standard output and standard error."""
    capture.readouterr()
    try:
        status = main(words)
    except SystemExit as ended:
        status = int(str(ended.code))
    written = capture.readouterr()
    return status, written.out, written.err
