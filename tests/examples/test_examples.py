"""The examples, run as their documents describe: the tutorial's own commands, against a real broker and Prism."""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from beam_pipeline.cli.arguments import RUN, add_options
from beam_pipeline.cli.option_values import read_options, serving_options
from tests.end_to_end.conftest import Deploy
from tests.end_to_end.deployment import Deployment
from tests.saved_models import save_wine_model

ROOT = Path(__file__).resolve().parents[2]
CONFIGURATIONS = sorted((ROOT / "examples").rglob("serving.yaml"))
SENSORS = ROOT / "examples" / "sensors"
# The options that a test sets itself, so that it has its own topics.
OWN = ("bootstrap-servers", "group")


def read(configuration: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(configuration.read_text(encoding="utf-8"))
    return content


@pytest.mark.parametrize("configuration", CONFIGURATIONS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_configuration_is_complete(configuration: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    parser = argparse.ArgumentParser()
    add_options(parser, RUN)
    options = serving_options(read_options(parser.parse_args(["--config", str(configuration)]), RUN), [])
    assert all(one.text for one in options.record_types().values())


def deployment_of(configuration: Path, deploy: Deploy) -> Deployment:
    """The deployment that a configuration describes, on the test's broker and with its own topics."""
    content = {
        key: value for key, value in read(configuration).items() if not key.endswith("-topic") and key not in OWN
    }
    return deploy(content["record-schema"], options=content)


def tutorial_commands() -> list[list[str]]:
    """The commands of the tutorial from its second step on, split into words."""
    text = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8").partition("## 2.")[2]
    blocks = re.findall(r"(?:^    .+\n)+", text, re.MULTILINE)
    joined = "".join(blocks).replace("\\\n", " ")
    return [shlex.split(line) for line in joined.splitlines()]


class Reader:
    """Does what a reader of the tutorial does, with the test's broker, topics and folder."""

    def __init__(self, deployment: Deployment, folder: Path) -> None:
        self._deployment = deployment
        self._folder = folder

    def does(self, words: list[str], status: int = 0) -> str:
        """Runs one command and returns its output."""
        replaced = {
            "examples/sensors/serving.yaml": str(self._deployment.folder / "serving.yaml"),
            "/tmp/sensor-model": str(self._folder / "sensor-model"),
        }
        command = [replaced.get(word, word) for word in words]
        if Path(command[1]).name.startswith("send_"):
            command += ["--bootstrap-servers", self._deployment.kafka.bootstrap_servers]
            command += ["--topic", self._deployment.topic("records")]
        programs = {"python": [sys.executable], "beam-serving": [sys.executable, "-m", "beam_pipeline"]}
        command = [word.replace("python examples", f"{sys.executable} examples") for word in command[1:]]
        done = subprocess.run(
            [*programs[words[0]], *command],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == status, f"{words}:\n{done.stdout}{done.stderr}"
        return done.stdout


@pytest.mark.slow
def test_the_tutorial_works_as_it_is_written(deploy: Deploy, tmp_path: Path) -> None:
    run, send, show, make, publish, again, show_again, old, letters, replay = tutorial_commands()
    assert run[:2] == ["beam-serving", "run"]
    deployment = deployment_of(SENSORS / "serving.yaml", deploy)
    deployment.start()
    reader = Reader(deployment, tmp_path)

    assert "100 readings" in reader.does(send)
    assert all("No model server defined" in (result.error or "") for result in deployment.results_of(range(100)))
    assert reader.does(show).count("No model server defined") == 3

    reader.does(make)
    assert "Sensor: version 1 is live" in reader.does(publish)
    deployment.status("serving", "Sensor", 1)
    reader.does(again)
    scored = deployment.results_of(range(100, 200))
    assert {(result.error, result.version) for result in scored} == {(None, 1)}
    risks = {result.record["temperature"]: result.values("risk")[0] for result in scored}
    assert risks[min(risks)] < risks[max(risks)]
    assert reader.does(show_again).count("risk") == 3

    reader.does(old)
    deployment.dead_letters(range(200, 203))
    assert len(reader.does(letters).splitlines()) == 3
    assert "3 put back" in reader.does(replay)
    repaired = deployment.results_of(range(203, 206))
    assert [(result.error, result.record["vibration"]) for result in repaired] == [(None, 0.0)] * 3


@pytest.mark.slow
def test_the_wine_deployment_scores_generated_records(deploy: Deploy, tmp_path: Path) -> None:
    deployment = deployment_of(ROOT / "examples" / "serving.yaml", deploy)
    deployment.start()
    model = save_wine_model(tmp_path / "wine")
    names = ",".join(field["name"] for field in yaml.safe_load(deployment.schema.text)["fields"][1:])
    config = ["--config", "examples/sensors/serving.yaml"]  # stands for the deployment's own
    reader = Reader(deployment, tmp_path)
    publish = ["beam-serving", "models", "publish", *config, "--name", "wine", "--type", "tensorflow-saved-model"]
    reader.does([*publish, "--path", str(model), "--signature", "predict", "--input", f"inputs={names}"])
    deployment.status("serving", "wine", 1)
    reader.does(["beam-serving", "generate", "records", *config, "--schema", "wine", "--rate", "100", "--count", "20"])
    results = deployment.results_of(range(20))
    assert {(result.error, result.version, len(result.values("outputs"))) for result in results} == {(None, 1, 9)}


@pytest.mark.parametrize("value", [b"", b"\x02", b"\x02a\x00\x00\x00\x00\x00", b"not a reading", b"\xff" * 20])
def test_the_repair_leaves_what_it_does_not_know(value: bytes) -> None:
    command = [sys.executable, str(SENSORS / "repair_old_firmware.py")]
    done = subprocess.run(command, input=value, capture_output=True)
    assert done.returncode == 1
    assert done.stdout == b""
    assert b"old firmware" in done.stderr
    assert b"Traceback" not in done.stderr
