"""What a pipeline on Prism logs of its models, who can read that, and what is left when it is killed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from models.artifacts.local_opener import LocalOpener
from models.model_topic.descriptor import ModelDescriptor
from models.records.record_type import RecordType, Row
from models.scorers import load_scorer
from models.scorers.base import ModelSource, Scorer
from models.scorers.tensorflow.warm_up_requests import WARM_UP_FILE, read_warm_up_requests, run_warm_up_requests
from tests.end_to_end.conftest import Deploy
from tests.end_to_end.deployment import SAVED_MODEL, Deployment
from tests.end_to_end.kafka_tail import KafkaTail
from tests.http_server import QuietHandler, http_server
from tests.saved_models import save_wine_model

WINE = RecordType.named("wine")
MEASURES = tuple(name for name in WINE.codec.fields.names if name != "lot_id")
RECORDS = 40


def wine(number: int) -> Row:
    return {"lot_id": str(number), **{name: (number + place) / 50 for place, name in enumerate(MEASURES)}}


class Marquez:
    """Keeps the events of OpenLineage that it is sent."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def handler(self) -> type[QuietHandler]:
        events = self.events

        class Handler(QuietHandler):
            def do_POST(self) -> None:
                events.append(json.loads(self.body()))
                self.send(201)

        return Handler


@pytest.fixture
def marquez() -> Iterator[tuple[Marquez, str]]:
    kept = Marquez()
    with http_server(kept.handler()) as address:
        yield kept, f"http://{address}"


@pytest.mark.timeout(180)
def test_a_pipeline_logs_what_its_models_got_and_gave(
    deploy: Deploy, tmp_path: Path, marquez: tuple[Marquez, str]
) -> None:
    folder, model = tmp_path / "log", save_wine_model(tmp_path / "wine")
    lineage, url = marquez
    log = {"payload-share": 1, "payload-folder": str(folder), "payload-seconds": 1, "openlineage-url": url}
    deployment = deploy("wine", options=log)
    deployment.make_topic("payloads")
    deployment.publish("wine", model, {"inputs": MEASURES})
    deployment.start(payload_topic=deployment.topic("payloads"))
    results = deployment.score(*[wine(number) for number in range(RECORDS)])
    answers = {result.where[1]: result.values("outputs") for result in results}

    check_events(deployment, answers)
    deployment.eventually(lambda: len(logs_in(folder)) == RECORDS, "every payload is in a complete file")
    check_files(folder, answers)
    check_warm_up(folder, model, tmp_path / "warmed")
    deployment.eventually(lambda: len(lineage.events) >= 2, "the run and its model are reported")
    check_lineage(lineage.events, deployment)
    check_kill(deployment, folder)


def check_events(deployment: Deployment, answers: dict[int, list[float]]) -> None:
    """Each event names the record and the version, and has the answer of the result."""
    tail = KafkaTail(deployment.kafka, deployment.topic("payloads"))
    try:
        assert tail.until(lambda: len(tail.messages) >= len(answers))
        events = [json.loads(message.value()) for message in tail.messages]
    finally:
        tail.close()
    assert {event["offset"] for event in events} == answers.keys()
    for event in events:
        answer = answers[event["offset"]]
        assert event["outputs"]["outputs"]["values"] == pytest.approx(answer)
        assert event["confidence"] == pytest.approx(max(answer))
        assert (event["modelName"], event["modelVersion"], event["dataType"]) == ("wine", 1, "wine")
        assert len(event["digest"]) == 64


def logs_in(folder: Path) -> list[prediction_log_pb2.PredictionLog]:
    """The messages of all complete files; fails if one of them is cut off."""
    files = [str(path) for path in folder.glob("*.tfrecord")]
    return [
        prediction_log_pb2.PredictionLog.FromString(one) for one in tf.data.TFRecordDataset(files).as_numpy_iterator()
    ]


def check_files(folder: Path, answers: dict[int, list[float]]) -> None:
    """Each message names its record, and has the answer of the result."""
    for log in logs_in(folder):
        offset = int(log.log_metadata.request_origin.rpartition("-")[2])
        outputs = tf.make_ndarray(log.predict_log.response.outputs["outputs"])
        assert outputs.shape == (1, 9)
        assert outputs[0].tolist() == pytest.approx(answers[offset])
        spec = log.predict_log.request.model_spec
        assert (spec.name, spec.version.value, spec.signature_name) == ("wine", 1, "predict")


def check_warm_up(folder: Path, model: Path, warmed: Path) -> None:
    """A file of the log is the file of warm-up requests of a SavedModel, whose answers are those of the log."""
    shutil.copytree(model, warmed)
    (warmed / WARM_UP_FILE).parent.mkdir()
    logged = min(folder.glob("*.tfrecord"))
    # As docs/how-to/payload-log.md has it.
    with tf.io.TFRecordWriter(str(warmed / WARM_UP_FILE)) as requests:
        for content in tf.data.TFRecordDataset(str(logged)).take(100).as_numpy_iterator():
            requests.write(content)
    scorer: Scorer = load_scorer(
        ModelSource(ModelDescriptor("wine", SAVED_MODEL, model_source_location=str(warmed)), None, LocalOpener())
    )
    try:
        logs = [
            prediction_log_pb2.PredictionLog.FromString(one)
            for one in tf.data.TFRecordDataset(str(logged)).as_numpy_iterator()
        ]
        assert run_warm_up_requests(scorer, warmed) == len(logs) > 0
        for request, log in zip(read_warm_up_requests(warmed / WARM_UP_FILE), logs, strict=True):
            assert request is not None
            logged_outputs: Any = tf.make_ndarray(log.predict_log.response.outputs["outputs"])
            outputs: Any = scorer.score(request.inputs).outputs["outputs"]
            np.testing.assert_allclose(outputs, logged_outputs, rtol=1e-5)
    finally:
        scorer.close()


def check_lineage(events: list[dict[str, Any]], deployment: Deployment) -> None:
    """The run began, and answers with the published version."""
    assert [event["eventType"] for event in events[:2]] == ["START", "RUNNING"]
    (model,) = events[-1]["run"]["facets"]["beamServing_models"]["models"]
    assert (model["name"], model["version"], model["role"], model["share"]) == ("wine", "1", "serve", 1)
    assert events[-1]["job"]["name"] == deployment.group
    assert deployment.topic("records") in [one["name"] for one in events[-1]["inputs"]]
    assert deployment.topic("payloads") in [one["name"] for one in events[-1]["outputs"]]


def check_kill(deployment: Deployment, folder: Path) -> None:
    """A pipeline that is killed leaves whole files, and at most one that has its temporary name."""
    before = len(logs_in(folder))
    process = deployment.process
    assert process is not None
    with deployment.records_coming(wine(1), a_second=200):
        deployment.eventually(
            lambda: len(logs_in(folder)) > before and any(folder.glob("*.tmp")), "another file is complete"
        )
        process.kill()
    assert len(list(folder.glob("*.tmp"))) <= 1
    assert len(logs_in(folder)) > before
