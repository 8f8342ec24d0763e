"""The example that closes the loop: the data change, and a better model serves without anybody's doing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from models.observing.drift.events import DriftEvent
from tests.end_to_end.conftest import Deploy
from tests.end_to_end.deployment import Deployment, Result
from tests.end_to_end.kafka_tail import KafkaTail
from tests.examples.test_examples import ROOT, deployment_of

DRIFT = ROOT / "examples" / "drift"
TOPICS = ("feedback", "drift")
QUICKLY = {"drift-window": 2, "drift-min-records": 100}


@contextmanager
def running(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A program of the example, which is ended."""
    command = [sys.executable, "-m", *arguments]
    process = subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def errors(results: list[Result], version: int) -> list[float]:
    """How far the answers of a version are from the time that its deliveries take on average after the move."""
    return [
        abs(one.values("minutes")[0] - 5 - 4.5 * one.record["distance_km"] - 4 * one.record["stops"])
        for one in results
        if one.version == version
    ]


def run(*arguments: str) -> str:
    done = subprocess.run([sys.executable, "-m", *arguments], cwd=ROOT, text=True, capture_output=True, timeout=120)
    assert done.returncode == 0, f"{arguments}:\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(500)
def test_drift_ends_with_a_better_model(deploy: Deploy, tmp_path: Path) -> None:
    deployment = deployment_of(DRIFT / "serving.yaml", deploy)
    for kind in TOPICS:
        deployment.make_topic(kind)
    topics = {f"{kind}-topic": deployment.topic(kind) for kind in TOPICS}
    deployment.options = {**deployment.options, **QUICKLY, **topics}
    deployment.start()
    config = str(deployment.folder / "serving.yaml")
    run("examples.drift.train", str(tmp_path))
    baseline = ["--baseline", str(tmp_path / "baseline.jsonl"), "--path", str(tmp_path / "model.pmml"), "--inline"]
    published = run(
        "beam_pipeline", "models", "publish", "--config", config, "--name", "Delivery", "--type", "pmml", *baseline
    )
    assert "baseline" in published
    deployment.status("serving", "Delivery", 1)
    sends = ["--topic", deployment.topic("records"), "--feedback-topic", deployment.topic("feedback")]
    shop = ["--bootstrap-servers", deployment.kafka.bootstrap_servers, *sends, "--rate", "150", "--move-after", "8"]
    with (
        running("examples.drift.deliveries", *shop),
        running("examples.drift.close_the_loop", "--config", config, "--records", "300") as loop,
    ):
        output, _ = loop.communicate(timeout=400)
    assert loop.returncode == 0, output
    check_results(deployment, output)


def check_results(deployment: Deployment, output: str) -> None:
    events = KafkaTail(deployment.kafka, deployment.topic("drift"))
    try:
        events.to_the_end()
        found = [DriftEvent.from_json(message.value()) for message in events.messages]
    finally:
        events.close()
    first = next(event for event in found if event.kind == "feature")
    assert (first.model, first.version, first.field) == ("Delivery", 1, "distance_km")
    assert f"{first.measure} of distance_km is {first.value:.3g}" in output
    assert "labels" in output and "Delivery/2" in output
    results = deployment.results_to_the_end()
    assert results[-1].version == 2 and results[-1].error is None
    old, new = (errors(results[-1000:], version) for version in (1, 2))
    assert max(new) < 3
    assert sum(old, 0.0) / max(len(old), 1) > 3 or not old
    scores = {one.metadata["outlier"] for one in results[:500]}
    assert scores <= {False, True} and False in scores
