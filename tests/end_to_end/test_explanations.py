"""Explanations of a deployment: of every record beside the scoring, and of one result by the command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
from sklearn.linear_model import LinearRegression

from beam_pipeline.cli.command_line import main
from models.artifacts.digest import digest_of_bytes
from models.model_topic.descriptor import ModelDescriptor
from tests.end_to_end.applicants import FIELDS, schema_file
from tests.end_to_end.conftest import Deploy
from tests.end_to_end.deployment import Deployment, Result
from tests.end_to_end.kafka_tail import KafkaTail
from tests.saved_models import save_linear_model

WEIGHTS = {"network": [2.0, -3.0, 0.5], "table": [-1.0, 4.0, 2.0]}
OUTPUT = {"network": "out", "table": "prediction"}
METHOD = {"network": "integrated-gradients", "table": "permutation"}
RECORDS = 12


@pytest.fixture
def deployment(deploy: Deploy, tmp_path: Path) -> Deployment:
    """A deployment that explains every record; one model is a SavedModel, the other one of scikit-learn."""
    schema = schema_file(tmp_path)
    made = deploy(schema, options={"record-schema": schema, "explain-share": 1})
    made.make_topic("explanations")
    made.publish("network", save_linear_model(tmp_path / "m", WEIGHTS["network"]), {"v": FIELDS}, data_type="network")
    content = linear_regression(WEIGHTS["table"])
    made.models.publish(
        ModelDescriptor(
            "table",
            "sklearn",
            model_bytes=content,
            digest=digest_of_bytes(content),
            inputs={"X": FIELDS},
            data_type="table",
        )
    )
    made.start(explain_topic=made.topic("explanations"))
    return made


def linear_regression(weights: list[float]) -> bytes:
    rows = np.random.default_rng(1).normal(size=(50, len(weights)))
    content: bytes = skops.io.dumps(LinearRegression().fit(rows, rows @ np.array(weights)))
    return content


def records(data_type: str) -> list[dict[str, Any]]:
    random = np.random.default_rng(7)
    rows = random.normal(size=(RECORDS, len(FIELDS))).round(3).tolist()
    return [{**dict(zip(FIELDS, row, strict=True)), "dataType": data_type} for row in rows]


def answer(data_type: str, record: dict[str, Any]) -> float:
    return float(sum(weight * record[name] for name, weight in zip(FIELDS, WEIGHTS[data_type], strict=True)))


@pytest.mark.timeout(300)
def test_every_record_is_explained_once_and_one_result_by_the_command(
    deployment: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    explanations = KafkaTail(deployment.kafka, deployment.topic("explanations"))
    results = {name: deployment.score(*records(name)) for name in WEIGHTS}
    # The answers are those of the models.
    for name, found in results.items():
        assert [one.values(OUTPUT[name])[0] for one in found] == pytest.approx(
            [answer(name, one) for one in records(name)], abs=1e-5
        )
    assert explanations.until(lambda: len(explanations.messages) >= 2 * RECORDS), deployment.all_dead_letters()
    explanations.to_the_end()
    messages = [json.loads(message.value()) for message in explanations.messages]
    explanations.close()
    topic = deployment.topic("records")
    expected = sorted((topic, *one.where) for results_of in results.values() for one in results_of)
    assert sorted((one["topic"], one["partition"], one["offset"]) for one in messages) == expected
    by_offset = {one["offset"]: one for one in messages}
    for name, results_of in results.items():
        for result in results_of:
            check_live(name, result, by_offset[result.metadata["offset"]])
    check_command(deployment, capsys, results)


def check_live(name: str, result: Result, explanation: dict[str, Any]) -> None:
    assert (explanation["modelName"], explanation["modelVersion"]) == (name, result.version)
    assert explanation["method"] == METHOD[name]
    assert explanation["prediction"] == pytest.approx(result.values(OUTPUT[name])[0], abs=1e-6)
    shares = [one["attribution"] for one in explanation["attributions"]]
    assert sum(shares) == pytest.approx(explanation["prediction"] - explanation["baseValue"], abs=1e-4)
    assert [one["value"] for one in explanation["attributions"]] == pytest.approx(
        [result.record[field] for field in FIELDS], abs=1e-6
    )


def check_command(deployment: Deployment, capsys: pytest.CaptureFixture[str], results: dict[str, list[Result]]) -> None:
    places = {one.where: message.offset() for one, message in deployment.results_with_messages()}
    options = (
        *("--bootstrap-servers", deployment.kafka.bootstrap_servers),
        *("--models-topic", deployment.topic("models")),
        *("--record-schema", str(deployment.options["record-schema"])),
    )
    for name, results_of in results.items():
        result = results_of[3]
        where = f"{deployment.topic('results')}:0:{places[result.where]}"
        capsys.readouterr()
        assert main(["explain", "--result", where, "--json", "--background", "0", *options]) == 0
        out, err = capsys.readouterr()
        explanation = json.loads(out)
        assert err == ""
        check_live(name, result, explanation)
        assert (explanation["offset"], explanation["background"]) == (result.metadata["offset"], 0)
        expected = [weight * result.record[field] for field, weight in zip(FIELDS, WEIGHTS[name], strict=True)]
        assert [one["attribution"] for one in explanation["attributions"]] == pytest.approx(expected, abs=1e-4)
