"""`beam-serving explain` against a real broker, with results as a worker writes them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from models.artifacts.archive import zip_folder
from models.artifacts.digest import digest_of_bytes
from models.artifacts.local_opener import LocalOpener
from models.kafka.client import KafkaSettings
from models.loading.loader import ModelLoader
from models.model_topic.descriptor import ModelDescriptor, version_key
from models.model_topic.inline_models import InlineModels
from models.model_topic.publisher import ModelPublisher
from models.model_topic.transactions import TopicTransactions
from models.records.batch import OffsetSpan, RecordBatch
from models.records.record_type import RecordFormat, RecordType
from models.routing.plan import implicit_plan
from models.serving.assembly import ScoringSettings, score_batch
from models.serving.registry import ModelRegistry
from runners.local.kafka_broker import LocalBroker
from tests.beam_pipeline.cli.commands.in_process import run
from tests.conftest import MakeTopic
from tests.models.scorers.servers.tensorflow_serving_replica import running as serving_replica
from tests.saved_models import save_linear_model

SCHEMA = {
    "type": "record",
    "name": "applicant",
    "fields": [{"name": name, "type": "double"} for name in ("income", "debt")],
}
ROWS = [{"income": 3.0, "debt": 1.0}, {"income": 5.0, "debt": -2.0}, {"income": 1.0, "debt": 0.0}]
INPUTS = {"v": ("income", "debt")}
SAVED_MODEL = "tensorflow-saved-model"


@dataclass
class Deployment:
    """Topics, the models of a worker, and the command with a configuration file that names the topics."""

    kafka: KafkaSettings
    folder: Path
    topics: Mapping[str, str]
    schema: Path
    capture: pytest.CaptureFixture[str]
    record_format: RecordFormat = "avro"
    written: int = field(default=0)

    @property
    def kind(self) -> RecordType:
        return RecordType.named(str(self.schema), self.record_format)

    def publish(self, **described: Any) -> ModelDescriptor:
        """Publishes a linear model inline: 2 * income - 3 * debt."""
        content = zip_folder(save_linear_model(self.folder / "model", [2.0, -3.0]))
        settings = {"model_bytes": content, "digest": digest_of_bytes(content), "model_type": SAVED_MODEL, **described}
        return self.publish_any(ModelDescriptor("credit", inputs=INPUTS, data_type="applicant", **settings))

    def publish_any(self, descriptor: ModelDescriptor) -> ModelDescriptor:
        return ModelPublisher(self.kafka, self.topics["models"]).publish(descriptor)

    def write(self, topic: str, values: Sequence[bytes | None], keys: Sequence[bytes | None] | None = None) -> None:
        producer = self.kafka.producer()
        for place, value in enumerate(values):
            producer.produce(self.topics[topic], value, keys[place] if keys else None, partition=0)
        assert producer.flush(30.0) == 0

    def score(self, rows: Sequence[Mapping[str, Any]] = ROWS) -> None:
        """Writes records, and the results of them as a worker does."""
        values = [self.kind.codec.encode(row) for row in rows]
        self.write("records", values)
        offsets = list(range(self.written, self.written + len(values)))
        self.written += len(values)
        span = OffsetSpan(self.topics["records"], "", 0, 0, offsets[0], self.written)
        batch = RecordBatch.of(span, offsets, [0] * len(values), [None] * len(values), values)
        settings = ScoringSettings({span.topic: self.kind}, self.topics["results"], "letters")
        with self.registry() as registry:
            outgoing = score_batch(batch, registry, settings).outgoing
        self.write("results", [message.value for message in outgoing])

    @contextmanager
    def registry(self) -> Iterator[ModelRegistry]:
        """The models as a worker has loaded them."""
        versions = TopicTransactions(self.kafka, self.topics["models"]).read().versions
        with (
            closing(InlineModels(self.kafka, self.topics["models"])) as inline,
            closing(ModelRegistry("worker")) as registry,
        ):
            loader = ModelLoader(LocalOpener(), inline.fetch, [self.kind.codec])
            if versions:
                newest = versions[max(versions)]
                registry.update({"applicant": implicit_plan((newest,))})
                registry.loaded(newest, loader.load(newest))
            yield registry

    def __call__(self, result: str, *words: str) -> tuple[int, str, str]:
        """Runs the command, as `in_process.run` does."""
        where = result if ":" in result else f"{self.topics['results']}:0:{result}"
        options = (
            *("--bootstrap-servers", self.kafka.bootstrap_servers, "--models-topic", self.topics["models"]),
            *("--record-schema", str(self.schema), "--record-format", self.record_format),
        )
        return run(self.capture, "explain", "--result", where, *words, *options)

    def explained(self, result: str, *words: str) -> dict[str, Any]:
        """The explanation as JSON."""
        status, out, err = self(result, "--json", *words)
        assert (status, err) == (0, "")
        explanation: dict[str, Any] = json.loads(out)
        return explanation

    def refused(self, result: str, *words: str) -> str:
        """The error of a result that cannot be explained."""
        status, out, err = self(result, *words)
        assert (status, out) == (1, "")
        return err


@pytest.fixture
def deployment(
    broker: LocalBroker,
    make_topic: MakeTopic,
    topic_names: Callable[[str], str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> Deployment:
    topics = {name: make_topic(topic_names(name)) for name in ("records", "results")}
    topics["models"] = make_topic(topic_names("models"), cleanup_policy="compact")
    schema = tmp_path / "applicant.avsc"
    schema.write_text(json.dumps(SCHEMA), encoding="utf-8")
    return Deployment(KafkaSettings(broker.bootstrap_servers), tmp_path, topics, schema, capsys)


def shares(explanation: Mapping[str, Any]) -> dict[str, float]:
    return {one["name"]: one["attribution"] for one in explanation["attributions"]}


@pytest.mark.parametrize("record_format", ["avro", "json"])
def test_recent_records_stand_in_for_the_one_that_is_explained(
    deployment: Deployment, record_format: RecordFormat
) -> None:
    deployment.record_format = record_format
    deployment.publish()
    deployment.score()
    explanation = deployment.explained("1")
    # The means of the other two records are 2 and 0.5.
    assert shares(explanation) == pytest.approx({"income": 2.0 * 3.0, "debt": -3.0 * -2.5}, abs=1e-4)
    assert explanation["baseValue"] == pytest.approx(2.5)
    assert explanation["prediction"] == pytest.approx(16.0)
    assert (explanation["method"], explanation["background"]) == ("integrated-gradients", 2)
    assert (explanation["topic"], explanation["offset"]) == (deployment.topics["records"], 1)
    permuted = deployment.explained("1", "--method", "permutation")
    assert shares(permuted) == pytest.approx(shares(explanation), abs=1e-4)


def test_a_table_shows_the_largest_contributions_first(deployment: Deployment) -> None:
    deployment.publish()
    deployment.score()
    status, out, err = deployment("1", "--background", "0", "--top", "1")
    assert (status, err) == (0, "")
    assert f"{deployment.topics['records']}-0@1  credit/1  out = 16" in out
    rows = [line for line in out.splitlines() if "income" in line or "1 other" in line]
    assert "+10" in rows[0] and "█" * 30 in rows[0]
    assert "+6" in rows[1]
    assert "debt" not in out


def test_the_version_that_answered_is_explained_and_not_a_newer_one(deployment: Deployment) -> None:
    deployment.publish()
    deployment.score()
    content = zip_folder(save_linear_model(deployment.folder / "other", [7.0, 7.0]))
    deployment.publish(model_bytes=content, digest=digest_of_bytes(content))
    explanation = deployment.explained("0", "--background", "0")
    assert explanation["modelVersion"] == 1
    assert shares(explanation) == pytest.approx({"income": 6.0, "debt": -3.0}, abs=1e-4)


def test_a_model_on_a_server_is_called_with_mixtures_and_the_calls_are_counted(deployment: Deployment) -> None:
    with serving_replica({"credit:1": save_linear_model(deployment.folder / "served", [2.0, -3.0])}) as replica:
        location = f"http://127.0.0.1:{replica.rest_port}/v1/models/credit/versions/1"
        deployment.publish_any(
            ModelDescriptor(
                "credit",
                "tensorflow-serving-rest",
                model_source_location=location,
                inputs=INPUTS,
                data_type="applicant",
            )
        )
        deployment.score()
        before = len(replica.calls())
        explanation = deployment.explained("1", "--background", "0")
        # One more call warmed the model up.
        assert explanation["calls"] == len(replica.calls()) - before - 1
    assert (explanation["method"], explanation["digest"]) == ("permutation", None)
    assert shares(explanation) == pytest.approx({"income": 10.0, "debt": 6.0}, abs=1e-4)


# --- What cannot be explained.


def test_an_offset_without_a_message_is_refused_with_those_that_exist(deployment: Deployment) -> None:
    deployment.publish()
    deployment.score()
    assert "has no offset 3; it has the offsets 0 to 2" in deployment.refused("3")
    assert "does not exist" in deployment.refused("nothing-of-this-name:0:0")
    assert "has the partitions 0 to 0, and not 4" in deployment.refused(f"{deployment.topics['results']}:4:0")


def test_an_empty_topic_is_named(deployment: Deployment) -> None:
    assert "has no offset 0; it is empty" in deployment.refused("0")


def test_a_message_that_is_no_result_is_refused(deployment: Deployment) -> None:
    deployment.write("results", [b"garbage"])
    assert "is not a result" in deployment.refused("0")


def test_a_result_with_an_error_has_nothing_to_explain(deployment: Deployment) -> None:
    deployment.score()
    assert "no answer, but an error: No model server defined" in deployment.refused("0")


def test_a_version_that_was_deleted_is_named(deployment: Deployment) -> None:
    deployment.publish()
    deployment.score()
    deployment.write("models", [None], [version_key("credit", 1)])
    error = deployment.refused("0")
    assert "model credit/1, which gave the answer, is not in the models topic" in error
    assert error.rstrip().endswith("existing versions: none")


def test_a_model_whose_bytes_have_changed_since_is_refused(deployment: Deployment) -> None:
    folder = save_linear_model(deployment.folder / "located", [2.0, -3.0])
    deployment.publish(model_bytes=None, model_source_location=str(folder), digest=None)
    deployment.score()
    for file in (*folder.rglob("*.pb"), *(folder / "variables").iterdir()):
        file.unlink()
    save_linear_model(folder, [4.0, 4.0])
    assert "but the one that gave the answer has" in deployment.refused("0")


def test_zeros_have_contributions_of_zero(deployment: Deployment) -> None:
    deployment.publish()
    deployment.score([{"income": 0.0, "debt": 0.0}])
    assert shares(deployment.explained("0", "--background", "0")) == {"income": 0.0, "debt": 0.0}


@pytest.mark.parametrize("words", [("--background", "-1"), ("--top", "0"), ("--method", "guess")])
def test_wrong_arguments_are_usage_errors(deployment: Deployment, words: tuple[str, str]) -> None:
    status, out, err = deployment("0", *words)
    assert (status, out) == (2, "")
    assert words[0] in err


def test_a_result_without_an_offset_is_a_usage_error(deployment: Deployment) -> None:
    status, _, err = deployment("results:7")
    assert status == 2
    assert "TOPIC:PARTITION:OFFSET" in err
