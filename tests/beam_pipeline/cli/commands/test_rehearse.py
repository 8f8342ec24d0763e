"""Admission and rehearsal as users see them: a real broker, real SavedModels, and the commands in this process."""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from beam_pipeline.cli.command_line import main
from models.kafka.client import KafkaSettings
from models.model_topic.descriptor import ModelDescriptor
from models.model_topic.publisher import ModelPublisher
from models.observing.drift.profile import FieldKey, Profile
from models.observing.drift.sketches import NumberSketch
from models.records.record_type import RecordType
from runners.local.kafka_broker import LocalBroker
from tests.beam_pipeline.cli.commands.in_process import run
from tests.conftest import MakeTopic
from tests.saved_models import (
    save_failing_model,
    save_grading_model,
    save_logarithm_model,
    save_recommender,
    save_version_model,
)

SCHEMA = {"type": "record", "name": "grade", "fields": [{"name": "x", "type": "double"}]}
RECORDS = 1_000
# Another process may take the processor away from either model, so only the test of the slow one looks at the time.
PATIENT = ("--max-slowdown", "1e6")


@dataclass(frozen=True)
class Deployment:
    """Topics with records, and the commands with a configuration file that names them."""

    kafka: KafkaSettings
    config: str
    folder: Path
    records_topic: str
    models_topic: str
    capture: pytest.CaptureFixture[str]

    def __call__(self, *words: str) -> tuple[int, str, str]:
        """Runs a command on models, as `in_process.run` does."""
        return run(self.capture, "models", *words, "--config", self.config)

    def publish(self, model: Path, *words: str) -> tuple[int, str, str]:
        """Publishes a version without making it live, unless the arguments say otherwise."""
        return self("publish", "--name", "grade", "--type", "tensorflow-saved-model", "--path", str(model), *words)

    def candidate(self, model: Path, *words: str) -> str:
        """Publishes a version that is not live; returns NAME/VERSION."""
        status, out, err = self.publish(model, "--no-promote", *words)
        assert status == 0, err
        return f"grade/{out.split('grade: version ')[1].split()[0]}"

    def send(self, values: list[bytes], partitions: int = 2) -> None:
        """Writes records, spread over the partitions, with timestamps one millisecond apart."""
        producer, began = self.kafka.producer(), time.time_ns() // 1_000_000
        for place, value in enumerate(values):
            producer.produce(self.records_topic, value, partition=place % partitions, timestamp=began + place)
        assert producer.flush(30.0) == 0


@pytest.fixture
def deployment(
    broker: LocalBroker,
    make_topic: MakeTopic,
    topic_names: Callable[[str], str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> Deployment:
    schema, config = tmp_path / "grade.avsc", tmp_path / "serving.yaml"
    schema.write_text(json.dumps(SCHEMA), encoding="utf-8")
    records, models = make_topic(topic_names("records"), 2), topic_names("models")
    values = {"records-topic": records, "models-topic": models, "record-schema": str(schema)}
    config.write_text(json.dumps({"bootstrap-servers": broker.bootstrap_servers, **values}), encoding="utf-8")
    return Deployment(KafkaSettings(broker.bootstrap_servers), str(config), tmp_path, records, models, capsys)


def messages(numbers: list[float]) -> list[bytes]:
    codec = RecordType("grade", json.dumps(SCHEMA)).codec
    return [codec.encode({"x": number}) for number in numbers]


def normal(count: int = RECORDS) -> list[float]:
    chance = random.Random(5)
    return [chance.gauss(0.0, 1.0) for _ in range(count)]


@pytest.fixture
def serving(deployment: Deployment) -> Deployment:
    """The deployment, with records and a live model."""
    deployment.send(messages(normal()))
    status, _, err = deployment.publish(save_grading_model(deployment.folder / "live"))
    assert status == 0, err
    return deployment


# --- Findings of a rehearsal.


def test_a_good_candidate_is_within_all_limits(serving: Deployment) -> None:
    candidate = serving.candidate(save_grading_model(serving.folder / "good", shift=0.001))
    status, out, err = serving("rehearse", candidate, *PATIENT)
    assert (status, err) == (0, "")
    assert f"grade/2 against grade/1, on {RECORDS:,} records of 'grade'" in out
    assert f"Both agree on 100.00% of {RECORDS:,} records." in out
    rows = {line.split("  ")[0]: line.split() for line in out.splitlines()}
    assert rows["amount"][1] == "number"
    assert rows["scores"][1:3] == ["class", "scores"]


def figures(serving: Deployment, candidate: str, *words: str) -> dict[str, Any]:
    status, out, err = serving("rehearse", candidate, "--json", *words)
    found: dict[str, Any] = json.loads(out)
    assert status == (1 if found["broken_limits"] else 0)
    assert err.splitlines() == found["broken_limits"]
    return found


def limits_of(found: dict[str, Any]) -> set[str]:
    return {word.rstrip(";") for sentence in found["broken_limits"] for word in sentence.split() if word[:2] == "--"}


def test_a_constant_model_is_flagged_by_agreement_and_shift(serving: Deployment) -> None:
    found = figures(serving, serving.candidate(save_grading_model(serving.folder / "m", constant=True)), *PATIENT)
    assert limits_of(found) == {"--min-agreement", "--max-shift"}
    assert found["comparison"]["agreement"] < 0.05
    assert all(output["shift"] > 1 for output in found["comparison"]["outputs"])


def test_a_shifted_model_is_flagged_by_the_shift_though_it_names_the_same_classes(serving: Deployment) -> None:
    candidate = serving.candidate(save_grading_model(serving.folder / "m", shift=0.6), "--output", "amount=amount")
    found = figures(serving, candidate, "--tolerance", "1", *PATIENT)
    assert limits_of(found) >= {"--max-shift"}
    assert 0.2 < next(one["shift"] for one in found["comparison"]["outputs"] if one["name"] == "amount") < 0.6


def test_a_model_that_gives_nan_for_some_records_is_flagged_by_errors(serving: Deployment) -> None:
    numbers = normal()
    found = figures(serving, serving.candidate(save_grading_model(serving.folder / "m", nan_above=2.0)), *PATIENT)
    expected = sum(number > 2.0 for number in numbers)
    assert expected > 10
    assert found["performance"]["non_finite"] == expected
    assert found["error_share"] == expected / RECORDS
    assert limits_of(found) == {"--max-errors"}
    generous = figures(serving, "grade/2", "--max-errors", "5%", "--max-slowdown", "1e6")
    assert generous["broken_limits"] == []


def test_a_model_that_fails_for_some_records_is_flagged_by_errors_and_their_reason_is_shown(
    serving: Deployment,
) -> None:
    candidate = serving.candidate(save_failing_model(serving.folder / "m"), "--output", "amount=root")
    status, out, err = serving("rehearse", candidate, *PATIENT)
    assert status == 1
    negative = sum(number < 0 for number in normal())
    assert f"{negative} ({negative / RECORDS:.2%})" in out
    assert re.search(rf"^{candidate}, \d+ records: .*x is below 0", out, re.MULTILINE)
    assert "--max-errors" in err


def test_a_slow_model_is_flagged_by_its_slowdown_alone(serving: Deployment) -> None:
    candidate = serving.candidate(save_grading_model(serving.folder / "m", delay=0.3))
    found = figures(serving, candidate, "--last", "500")
    assert limits_of(found) == {"--max-slowdown"}
    assert found["performance"]["p50"] >= 300
    assert found["performance"]["records"] == 500


# --- Candidates that never get that far.


def test_a_model_with_a_wrong_signature_is_refused_when_it_is_published_and_when_it_is_rehearsed(
    serving: Deployment,
) -> None:
    folder = save_recommender(serving.folder / "m")
    status, _, err = serving.publish(folder, "--no-promote")
    assert status == 1
    assert "was not published: model input" in err
    descriptor = ModelDescriptor("grade", "tensorflow-saved-model", model_source_location=str(folder))
    ModelPublisher(serving.kafka, serving.models_topic).publish(descriptor, live=False)
    status, out, err = serving("rehearse", "grade/2")
    assert (status, out) == (1, "")
    assert "model grade/2 may not serve: model input" in err


def test_a_model_that_gives_nan_for_zeros_is_not_published(serving: Deployment) -> None:
    status, _, err = serving.publish(save_logarithm_model(serving.folder / "m"))
    assert status == 1
    assert "warm-up with zeros: 1 of 1 values of output 'logarithm' are NaN or infinite" in err


def test_golden_samples_are_checked_when_a_model_is_published_and_travel_with_it(serving: Deployment) -> None:
    golden = serving.folder / "golden.jsonl"
    golden.write_text('{"record": {"x": 2}, "outputs": {"amount": 2.0}}\n\n{"record": {"x": 0.5}, "outputs": {}}\n')
    model = save_grading_model(serving.folder / "m", shift=0.001)
    status, _, err = serving.publish(model, "--golden", str(golden), "--tolerance", "1e-6")
    assert status == 1
    assert "golden sample 1: output 'amount': it is 2.00" in err
    assert serving.publish(model, "--golden", str(golden), "--tolerance", "0.001", "--no-promote")[0] == 0
    (*_, last) = ModelPublisher(serving.kafka, serving.models_topic).versions()
    assert last.descriptor.golden is not None
    assert [sample.record for sample in last.descriptor.golden.samples] == ['{"x":2}', '{"x":0.5}']
    assert last.descriptor.golden.absolute_tolerance == 0.001


def test_the_baseline_of_a_model_is_sketched_when_it_is_published_and_travels_with_it(serving: Deployment) -> None:
    baseline = serving.folder / "baseline.jsonl"
    baseline.write_text("".join(f'{{"x": {at / 10}}}\n\n' for at in range(1, 1501)))
    status, out, _ = serving.publish(save_grading_model(serving.folder / "m"), "--baseline", str(baseline))
    assert (status, "baseline" in out) == (0, True)
    (*_, last) = ModelPublisher(serving.kafka, serving.models_topic).versions()
    assert last.descriptor.baseline is not None
    profile = Profile.from_bytes(last.descriptor.baseline)
    assert profile.records == 1500
    feature = profile.fields[FieldKey("feature", "x")]
    assert isinstance(feature, NumberSketch)
    values, weights = feature.distribution()
    assert weights.sum() == 1500
    # A sketch keeps some of the values, chosen at random: its ranks are right up to an error, its least value is not.
    shares = np.cumsum(weights) / 1500
    assert np.abs(shares - values / 150).max() < 2 * feature.rank_error
    assert {key.kind for key in profile.fields} >= {"feature", "output"}


@pytest.mark.parametrize(
    ("option", "content", "message"),
    [
        ("--golden", "", "there are 0 golden samples"),
        ("--golden", '{"record": {}, "outputs": {}}\n{"record": {}}', "line 2: not {"),
        ("--golden", "{", "line 1: not JSON"),
        ("--golden", '{"record": [], "outputs": {}}', "line 1: not {"),
        ("--golden", None, "No such file"),
        ("--baseline", "\n", "the file contains no records"),
        ("--baseline", '{"x": 1}\n{', "line 2: not JSON"),
        ("--baseline", "[1]", "line 1: not a JSON object"),
        ("--baseline", None, "No such file"),
    ],
)
def test_a_malformed_file_of_json_lines_is_a_usage_error(
    deployment: Deployment, option: str, content: str | None, message: str
) -> None:
    path = deployment.folder / "lines.jsonl"
    if content is not None:
        path.write_text(content)
    status, _, err = deployment.publish(deployment.folder, option, str(path))
    assert status == 2
    assert f"{option} {path}" in err
    assert message in err


def test_a_baseline_names_the_record_that_does_not_follow_the_schema(serving: Deployment) -> None:
    baseline = serving.folder / "baseline.jsonl"
    baseline.write_text('{"x": 1}\n{"y": 1}\n')
    status, _, err = serving.publish(save_grading_model(serving.folder / "m"), "--baseline", str(baseline))
    assert status != 0
    assert "record 2 does not follow the schema" in err


def test_golden_samples_need_a_record_schema(deployment: Deployment) -> None:
    servers = deployment.kafka.bootstrap_servers
    words = ["models", "publish", "--name", "m", "--type", "tensorflow-saved-model", "--path", "."]
    words += ["--golden", "f", "--bootstrap-servers", servers, "--models-topic", "m"]
    assert main(words) == 2
    assert "--golden needs --record-schema" in deployment.capture.readouterr().err


# --- Which records and which models.


def test_without_a_live_model_only_the_errors_count(deployment: Deployment) -> None:
    deployment.send(messages(normal(20)))
    candidate = deployment.candidate(save_grading_model(deployment.folder / "m"))
    status, out, err = deployment("rehearse", candidate)
    assert (status, err) == (0, "")
    assert "No model answers these records yet" in out


def test_the_serving_arm_of_a_route_is_what_a_candidate_is_compared_with(serving: Deployment) -> None:
    served = serving.candidate(save_grading_model(serving.folder / "served", shift=5.0))
    assert serving("promote", served)[0] == 0
    candidate = serving.candidate(save_grading_model(serving.folder / "m", shift=5.0))
    found = figures(serving, candidate, *PATIENT)
    assert (found["against"], found["broken_limits"]) == (served, [])
    assert figures(serving, candidate, "--against", "grade/1", *PATIENT)["against"] == "grade/1"


def test_a_graph_that_answers_is_not_compared_with(serving: Deployment) -> None:
    routes = serving.folder / "routes.yaml"
    routes.write_text(
        "routes: {grade: {graphs: {both: {steps: [{name: only, model: grade, version: 1}], output: only}}, "
        "arms: [{name: live, graph: both}]}}"
    )
    assert serving("apply", "-f", str(routes))[0] == 0
    candidate = serving.candidate(save_grading_model(serving.folder / "m"))
    status, _, err = serving("rehearse", candidate)
    assert status == 1
    assert "a graph answers 'grade' records; name the version to compare with --against" in err
    assert figures(serving, candidate, "--against", "grade/1", *PATIENT)["broken_limits"] == []


def test_the_newest_records_are_taken_and_malformed_ones_are_counted(deployment: Deployment) -> None:
    deployment.send([*messages([-50.0] * 30), *messages([50.0] * 10), b"\xff"])
    live = save_failing_model(deployment.folder / "live")
    assert deployment.publish(live)[0] == 0
    candidate = deployment.candidate(save_failing_model(deployment.folder / "m"))
    found = figures(deployment, candidate, "--last", "11", *PATIENT)
    assert (found["performance"]["records"], found["performance"]["errors"], found["malformed"]) == (10, 0, 1)
    everything = figures(deployment, candidate, "--max-errors", "80%", *PATIENT)
    assert (everything["performance"]["records"], everything["performance"]["errors"]) == (40, 30)


def test_a_version_that_cannot_be_rehearsed_is_refused_with_the_reason(serving: Deployment) -> None:
    status, _, err = serving("rehearse", "grade/1")
    assert status == 1
    assert "model grade/1 answers records already; name another one with --against" in err
    status, _, err = serving("rehearse", "grade/9")
    assert status == 1
    assert "existing versions: grade/1" in err
    other = serving.candidate(save_version_model(serving.folder / "m", 1), "--data-type", "another")
    status, _, err = serving("rehearse", other)
    assert status == 1
    assert f"none of the last {RECORDS} records" in err
    assert "is a record of 'another'" in err


@pytest.mark.parametrize(
    "words",
    [
        ["grade"],
        ["grade/1", "--last", "0"],
        ["grade/1", "--batch", "many"],
        ["grade/1", "--max-errors", "200%"],
        ["grade/1", "--min-agreement", "most"],
        ["grade/1", "--max-shift", "-1"],
        ["grade/1", "--max-slowdown", "x"],
        ["grade/1", "--tolerance", "nan"],
        ["grade/1", "--against", "grade"],
        [],
    ],
)
def test_a_usage_error_has_the_status_2(deployment: Deployment, words: list[str]) -> None:
    status, out, err = deployment("rehearse", *words)
    assert (status, out) == (2, "")
    assert err


def test_a_topic_that_does_not_exist_is_named(serving: Deployment) -> None:
    candidate = serving.candidate(save_grading_model(serving.folder / "m"))
    config = json.loads(Path(serving.config).read_text())
    Path(serving.config).write_text(json.dumps({**config, "records-topic": "no-such-topic"}))
    status, _, err = serving("rehearse", candidate)
    assert status == 1
    assert "'no-such-topic' does not exist" in err
