"""Graphs of real SavedModels, as a worker loads and scores them."""

from __future__ import annotations

import queue
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from models.artifacts.local_opener import LocalOpener
from models.errors import MappingError, ScorerOptionError
from models.loading.loader import ModelLoader
from models.model_topic.catalog import ModelCatalog
from models.model_topic.descriptor import ModelDescriptor, encode_descriptor, version_key
from models.model_topic.graph_encoding import graph_of
from models.model_topic.names import route_key
from models.model_topic.route import Arm, Generation, ModelRoute, Segment
from models.model_topic.route_encoding import encode_route
from models.records.outgoing import OutgoingMessage
from models.records.record_type import RecordType
from models.results.decoder import ResultDecoder
from models.routing.plan import plans
from models.serving.assembly import ScoringSettings, score_batch
from models.serving.registry import ModelRegistry
from models.serving.scoring import Shadows
from models.serving.shadows import ShadowScorer
from tests.models.fakes import batch_of, schema_of
from tests.saved_models import save_fraud_model, save_linear_model, save_version_model

RECORD = schema_of(x="float", y="float")
GRAPH = {
    "steps": [
        {"name": "sum", "model": "sum", "version": 1},
        {"name": "three", "model": "three", "version": 3},
        {
            "name": "stacked",
            "combine": "stack",
            "model": "stack",
            "version": 1,
            "inputs": {"v": ["sum.out", "three.version"]},
        },
        {
            "name": "best",
            "decide": "argmax",
            "of": ["sum.out", "three.version", "stacked.out"],
            "labels": ["a", "b", "c"],
        },
    ],
    "output": "best",
}


class Worker:
    """A registry that loads the versions that its catalog requires, as the load threads do."""

    def __init__(self, record_type: RecordType = RECORD) -> None:
        self.record_type = record_type
        self.registry = ModelRegistry("worker")
        self.catalog = ModelCatalog()
        self.settings = ScoringSettings({"records": record_type}, "results", "dead-letters", shadow_topic="shadows")

    def publish(self, name: str, version: int, path: Path, **fields: Any) -> None:
        descriptor = ModelDescriptor(
            name, "tensorflow-saved-model", version, model_source_location=str(path), data_type="component", **fields
        )
        self.catalog.apply(self.catalog.position, version_key(name, version), encode_descriptor(descriptor))

    def route(self, *arms: Arm, graph: Mapping[str, Any] | None = None) -> None:
        graphs = () if graph is None else (graph_of("g", graph),)
        message = encode_route(ModelRoute(self.record_type.name, (Generation((Segment(arms),), graphs=graphs),)))
        self.catalog.apply(self.catalog.position, route_key(self.record_type.name), message)
        self.registry.update(
            {name: plan for name, plan in plans(self.catalog).items() if name == self.record_type.name}
        )
        loader = ModelLoader(LocalOpener(), lambda offset: b"", [self.record_type.codec])
        while (version := self.registry.next_load()) is not None:
            self.registry.loaded(version, loader.load(version))

    def score(self, *rows: Mapping[str, Any], shadows: Shadows | None = None) -> list[dict[str, Any]]:
        batch = batch_of([self.record_type.codec.encode(row) for row in rows])
        scored = score_batch(batch, self.registry, self.settings, shadows)
        return [decoded(message.value, self.record_type) for message in scored.outgoing]


def decoded(value: bytes | None, record_type: RecordType = RECORD) -> dict[str, Any]:
    return ResultDecoder(record_type.codec.embedding).decode(value or b"")


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Worker]:
    made = Worker()
    made.publish("sum", 1, save_linear_model(tmp_path / "sum", [1.0, 1.0]), inputs={"v": ("x", "y")})
    made.publish("three", 3, save_version_model(tmp_path / "three", 3))
    stack = save_linear_model(tmp_path / "stack", [0.5, 2.0], bias=1.0)
    made.publish("stack", 1, stack, options={"inputs-from": "steps"})
    yield made
    made.registry.close()


def test_saved_models_of_a_graph_score_records_and_one_takes_the_outputs_of_the_others(worker: Worker) -> None:
    worker.route(Arm("live", "", graph="g"), graph=GRAPH)
    first, second = worker.score({"x": 1, "y": 1}, {"x": 20, "y": 30})
    assert first["outputs"]["decision"]["values"] == [b"c"]
    assert first["outputs"]["score"]["values"] == [0.5 * 2 + 2.0 * 3 + 1.0]
    assert second["outputs"]["decision"]["values"] == [b"a"]
    assert second["outputs"]["score"]["values"] == [50.0]
    listed = second["modelResultMetadata"]["steps"]
    assert {step["name"]: (step["modelName"], step["modelVersion"]) for step in listed} == {
        "sum": ("sum", 1),
        "three": ("three", 3),
        "stacked": ("stack", 1),
        "best": (None, None),
    }
    assert all(step["duration"] > 0 for step in listed)


def test_a_shadow_may_be_a_graph(worker: Worker) -> None:
    worker.route(Arm("live", "three", 3), Arm("new", "", role="shadow", graph="g"), graph=GRAPH)
    sent: queue.SimpleQueue[OutgoingMessage] = queue.SimpleQueue()
    shadows = ShadowScorer(worker.registry, worker.settings, sent.put)
    (live,) = worker.score({"x": 1, "y": 1}, shadows=shadows)
    assert live["outputs"]["version"]["values"] == [3]
    message = sent.get(timeout=60)
    shadows.close()
    assert message.topic == "shadows"
    result = decoded(message.value)
    assert result["outputs"]["decision"]["values"] == [b"c"]
    assert (result["modelResultMetadata"]["arm"], result["modelResultMetadata"]["role"]) == ("new", "shadow")
    assert len(result["modelResultMetadata"]["steps"]) == 4


def test_a_model_whose_inputs_come_from_steps_says_so(worker: Worker, tmp_path: Path) -> None:
    loader = ModelLoader(LocalOpener(), lambda offset: b"", [RECORD.codec])
    path = save_linear_model(tmp_path / "silent", [1.0])
    worker.publish("silent", 1, path)
    with pytest.raises(MappingError, match="model input 'v'"):
        loader.load(worker.catalog.versions["silent", 1])
    worker.publish("wrong", 1, path, options={"inputs-from": "fields"})
    with pytest.raises(ScorerOptionError, match="option inputs-from='fields' is not 'steps'"):
        loader.load(worker.catalog.versions["wrong", 1])


def test_the_fraud_autoencoder_decides_by_its_reconstruction_error(tmp_path: Path) -> None:
    worker = Worker(RecordType.named("transaction"))
    features = [*(f"v{number}" for number in range(1, 29)), "amount"]
    path = save_fraud_model(tmp_path / "fraud")  # it answers half of each feature
    worker.publish("fraud", 1, path, inputs={"transaction": tuple(features)})
    steps = [
        {"name": "encoder", "model": "fraud", "version": 1},
        {
            "name": "verdict",
            "decide": "reconstruction-error",
            "of": "encoder.predictions",
            "against": features,
            "at": 1.0,
            "labels": ["genuine", "fraud"],
        },
    ]
    worker.route(Arm("live", "", graph="g"), graph={"steps": steps, "output": "verdict"})
    rows = [{"transaction_id": str(value), **dict.fromkeys(features, value)} for value in (1.0, 2.0, 6.0)]
    rows[1]["v3"] = None
    genuine, unknown, fraud = worker.score(*rows)
    assert genuine["outputs"]["error"]["values"] == [pytest.approx(0.25)]
    assert genuine["outputs"]["decision"]["values"] == [b"genuine"]
    assert unknown["modelResultMetadata"]["errors"].endswith("is NaN, so no decision is possible")
    assert fraud["outputs"]["error"]["values"] == [pytest.approx(9.0)]
    assert fraud["outputs"]["decision"]["values"] == [b"fraud"]
    worker.registry.close()
