"""Help and usage errors appear at once: the tests check which modules are imported, not how long it takes."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from beam_pipeline.cli.command_line import COMMANDS

# Each takes from a twentieth of a second to several seconds to import.
SLOW = {"apache_beam", "tensorflow", "pyarrow", "confluent_kafka", "numpy", "fastavro", "rich", "yaml", "grpc"}
ACTIONS = [
    *(("models", action) for action in ("publish", "list", "rollback", "retire", "apply")),
    *(("generate", action) for action in ("records", "models")),
    *(("dead-letters", action) for action in ("show", "replay")),
    *(("template", action) for action in ("build", "metadata")),
]
TOPICS = [
    *("--bootstrap-servers", "localhost:1", "--records-topic", "records", "--models-topic", "models"),
    *("--results-topic", "results", "--dead-letter-topic", "letters", "--record-schema", "wine"),
]
PUBLISH = ["models", "publish", "--models-topic", "m", "--name", "m", "--type", "tensorflow-saved-model"]
PROGRAM = """
import json, sys
from beam_pipeline.cli.command_line import main
try:
    status = main(sys.argv[1:])
except SystemExit as ended:
    status = ended.code
print(json.dumps([status, sorted({name.partition(".")[0] for name in sys.modules})]))
"""


def imported_by(*words: str) -> tuple[int, set[str]]:
    """Runs a command line; returns its exit status, and the top-level modules that it has imported."""
    done = subprocess.run([sys.executable, "-c", PROGRAM, *words], capture_output=True, text=True, check=True)
    status, modules = json.loads(done.stdout.splitlines()[-1])
    return status, set(modules)


@pytest.mark.parametrize("words", [(), *((name,) for name in COMMANDS), *ACTIONS])
def test_help_imports_nothing_slow(words: tuple[str, ...]) -> None:
    status, modules = imported_by(*words, "--help")
    assert (status, modules & SLOW) == (0, set())


@pytest.mark.parametrize(
    "words",
    [
        ["serve"],
        ["run"],
        ["run", *TOPICS, "--max-btach", "5"],
        ["run", *TOPICS, "--max-batch", "0"],
        ["run", *TOPICS, "--start", "yesterday"],
        ["run", *TOPICS, "--engines", "tensorflow"],
        ["run", *TOPICS, "--runner", "SparkRunner"],
        ["run", *TOPICS, "--status-topic", "records"],
        ["template", "build", "--kind", "flex", "--location", "gs://b/o"],
        [*PUBLISH, "--location", "gs://b/o", "--inline"],
        [*PUBLISH, "--path", "p", "--input", "users"],
        ["generate", "records", "--records-topic", "r", "--schema", "wine", "--rate", "0"],
        ["generate", "models", "--models-topic", "m", "--name", "m", "--type", "x", "--every", "1", "path"],
        ["dead-letters", "replay", "--coordinates", "a-0-0"],
        ["dead-letters", "replay", *TOPICS[:4], *TOPICS[8:], "--coordinates", "a-0-0", "--again"],
        ["results", "--results-topic", "r"],
        ["status", "--no-such-thing"],
        ["demo", "--seconds", "3"],
    ],
    ids=" ".join,
)
def test_a_usage_error_imports_nothing_slow(words: list[str]) -> None:
    status, modules = imported_by(*words)
    assert (status, modules & SLOW) == (2, set())
