from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from beam_pipeline.cli.arguments import as_sentence
from beam_pipeline.cli.command_line import COMMANDS, main

COMPLETE = [
    *("--records-topic", "records", "--models-topic", "models", "--results-topic", "results"),
    *("--dead-letter-topic", "letters", "--record-schema", "wine"),
]


def test_without_a_command_it_shows_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    shown = capsys.readouterr().out
    assert all(name in shown for name in COMMANDS)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    assert as_sentence(COMMANDS[name][1]) in " ".join(capsys.readouterr().out.split())


def test_an_unknown_command_is_refused_and_the_known_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["serve"])
    assert ended.value.code == 2
    assert "invalid choice: 'serve'" in capsys.readouterr().err


def test_an_unknown_argument_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--no-such-thing"]) == 2
    assert "unknown arguments: --no-such-thing" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "missing --bootstrap-servers"),
        (("--bootstrap-servers", "localhost:1", "--start", "yesterday"), "--start 'yesterday'"),
        (("--bootstrap-servers", "localhost:1", "--kafka-config", "group.id=x"), "group.id"),
        (("--bootstrap-servers", "localhost:1", "--max-btach", "5"), "did you mean '--max-batch'"),
        (("--bootstrap-servers", "localhost:1", "--runner", "SparkRunner"), "'SparkRunner' is not supported"),
    ],
)
def test_run_refuses_wrong_options_before_it_asks_the_broker(
    words: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", *COMPLETE, *words]) == 2
    assert message in capsys.readouterr().err


def test_run_refuses_a_schema_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    words = [*COMPLETE[:-1], "no-such.avsc", "--bootstrap-servers", "localhost:1"]
    assert main(["run", *words]) == 1
    assert "'no-such.avsc' is neither a readable file nor a bundled name" in capsys.readouterr().err


def test_a_broker_that_does_not_answer_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--bootstrap-servers", "localhost:1", "--models-topic", "models"]
    began = time.monotonic()
    assert main(["models", "list", *words]) == 1
    assert time.monotonic() - began < 120  # it gives up instead of waiting for ever
    assert "no broker answered" in capsys.readouterr().err


def test_a_reader_that_goes_away_ends_it_quietly() -> None:
    command = f"{sys.executable} -m beam_pipeline run --help | head -n 1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, env=dict(os.environ), check=True)
    assert done.stdout.startswith("usage:")
    assert "Traceback" not in done.stderr
