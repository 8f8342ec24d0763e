"""The whole demo, started as a user starts it; no part of it outlives it."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from confluent_kafka.admin import AdminClient

from beam_pipeline.cli.command_line import main
from runners.local.kafka_broker import LocalBroker

ROOT = Path(__file__).resolve().parents[3]
DEMO = [sys.executable, "-m", "beam_pipeline", "demo", "--plain"]


@pytest.fixture
def running_demo() -> Iterator[subprocess.Popen[str]]:
    """A demo that starts its pipeline, with SIGINT ignored, as in a background process of a shell."""
    command = ["sh", "-c", "trap '' INT; exec \"$@\"", "sh", *DEMO]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def pipeline_of(demo: subprocess.Popen[str]) -> psutil.Process:
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline:
        for child in psutil.Process(demo.pid).children():
            with suppress(psutil.Error):  # it has just ended
                if "run" in child.cmdline():
                    return child
        time.sleep(0.1)
    raise AssertionError("the demo started no pipeline")


def figure(output: str, name: str) -> str:
    found = re.search(rf"^{name}  +(.*?) *$", output, re.MULTILINE)
    assert found, f"no {name!r} in:\n{output}"
    return found.group(1)


@pytest.mark.slow
def test_the_demo_shows_what_it_promises(prism_location: Path, tmp_path: Path) -> None:
    picture = tmp_path / "demo.svg"
    command = [*DEMO, "--seconds", "30", "--picture", str(picture)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280)
    said = done.stdout
    assert done.returncode == 0, said + done.stderr
    assert "Everything happened as it should." in said
    assert re.search(r"^the dashboard is at http://127\.0\.0\.1:\d+$", said, re.MULTILINE)
    assert figure(said, "lost") == "0"
    assert figure(said, "results received").startswith(figure(said, "records sent"))
    assert int(figure(said, "records sent").replace(",", "")) > 8_000
    assert figure(said, "dead letters").startswith("5 of 5 malformed records, 1 of 1 malformed descriptors")
    assert figure(said, "v3 refused").startswith("TensorFlow cannot load it")
    rows = dict(re.findall(r"│ (no model|v\d) +│ .*? │ +([\d,]+) │", said))
    assert rows.keys() == {"no model", "v1", "v2", "v3"}
    assert rows["v3"] == "0"
    assert all(int(rows[name].replace(",", "")) > 500 for name in ("no model", "v1", "v2"))
    weak, good = (float(share) for share in re.findall(r"│ v[12] +│ .*? ([\d.]+)% │", said))
    assert good > weak + 5
    # Not a measurement: a stream that stands still for seconds at each publication has a median of seconds.
    assert float(re.findall(r"p50 ([\d,]+) ms", figure(said, "latency"))[0].replace(",", "")) < 2_000
    assert "wine&#160;v2" in picture.read_text(encoding="utf-8")
    assert done.stderr == ""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_of_the_demo_outlives_it(
    prism_location: Path, running_demo: subprocess.Popen[str], number: signal.Signals
) -> None:
    pipeline = pipeline_of(running_demo)
    time.sleep(1)
    started = [pipeline, *psutil.Process(running_demo.pid).children(recursive=True)]
    running_demo.send_signal(number)
    running_demo.wait(40)
    _, alive = psutil.wait_procs(started, timeout=10)
    assert alive == []


@pytest.mark.slow
def test_a_pipeline_that_dies_ends_the_demo_with_the_end_of_its_log(
    prism_location: Path, running_demo: subprocess.Popen[str]
) -> None:
    pipeline_of(running_demo).kill()
    said, _ = running_demo.communicate(timeout=60)
    assert running_demo.returncode == 1
    assert "the pipeline ended with exit status -9" in said
    logs = re.search(r"The logs are in (\S+)", said)
    assert logs
    folder = Path(logs.group(1))
    assert {path.name for path in folder.iterdir()} >= {"demo.log", "pipeline.log"}
    shutil.rmtree(folder)


@pytest.mark.slow
def test_on_a_real_broker_the_topics_are_deleted_in_the_end(broker: LocalBroker, prism_location: Path) -> None:
    command = [*DEMO, "--seconds", "15", "--bootstrap-servers", broker.bootstrap_servers]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    assert figure(done.stdout, "lost") == "0"
    topics = AdminClient({"bootstrap.servers": broker.bootstrap_servers}).list_topics(timeout=10).topics
    assert [name for name in topics if name.startswith("beam-serving-demo")] == []


def test_a_broker_that_is_not_there_is_told_and_nothing_starts(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--plain", "--bootstrap-servers", "127.0.0.1:1"]) == 1
    assert "no broker answered" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--seconds", "3"], ["--seconds", "nan"], ["--no-such-option"]])
def test_options_that_cannot_be_followed_are_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", *words]) == 2
    assert "beam-serving demo" in capsys.readouterr().err


@pytest.mark.slow
def test_a_demo_that_is_interrupted_shows_what_there_was_and_is_no_success(
    prism_location: Path, running_demo: subprocess.Popen[str]
) -> None:
    assert running_demo.stdout is not None
    for line in running_demo.stdout:
        if "the stream flows" in line:
            break
    running_demo.send_signal(signal.SIGINT)
    said, _ = running_demo.communicate(timeout=60)
    assert running_demo.returncode == 1
    assert "stopped before its end" in said
    assert figure(said, "lost") == "0"
    logs = re.search(r"The logs are in (\S+)", said)
    assert logs
    shutil.rmtree(logs.group(1))
