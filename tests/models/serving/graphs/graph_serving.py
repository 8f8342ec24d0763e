"""Serves graphs whose models are functions."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import yaml

from models.loading.loader import LoadedModel
from models.model_topic.catalog import ModelCatalog
from models.model_topic.descriptor import ModelDescriptor, encode_descriptor, version_key
from models.model_topic.graph import Graph
from models.model_topic.graph_encoding import graph_of
from models.model_topic.names import route_key
from models.model_topic.route import Arm, Generation, ModelRoute, Segment
from models.model_topic.route_encoding import encode_route
from models.records.record_type import RecordType
from models.results.decoder import ResultDecoder
from models.routing.plan import plans
from models.scorers.base import Scores
from models.serving.assembly import ScoringSettings, score_batch
from models.serving.registry import ModelRegistry
from models.tensors import Array, Signature, TensorSpec
from tests.models.fakes import batch_of, schema_of

Function = Callable[..., Mapping[str, Array]]

RECORD = schema_of(x="double", y=["null", "double"], group="string", parts={"type": "array", "items": "double"})
DOUBLE = np.dtype(np.float64)


class FunctionScorer:
    """A model whose inputs are the parameters of a function: one number per record, or a vector `v` of any size."""

    def __init__(self, function: Function) -> None:
        self._function = function
        names = list(inspect.signature(function).parameters)
        shapes: dict[str, tuple[int | None, ...]] = {name: (None, None) if name == "v" else (None,) for name in names}
        self.signature = Signature("f", {name: TensorSpec(name, DOUBLE, shape) for name, shape in shapes.items()})
        self.digest: str | None = "0" * 64
        self.address = "nowhere"
        self.batch_deadline: float | None = None
        self.closed = threading.Event()

    def score(self, inputs: Mapping[str, Array]) -> Scores:
        assert not self.closed.is_set(), "a model was asked after it was closed"
        return Scores(self._function(**inputs))

    def close(self) -> None:
        self.closed.set()


class GraphServing:
    """A registry that serves one graph: version 1 of each model is the function with its name."""

    def __init__(self, graph: Graph | str, **functions: Function) -> None:
        self.graph = graph_of("loan", yaml.safe_load(graph)) if isinstance(graph, str) else graph
        self.registry = ModelRegistry("worker")
        self.catalog = ModelCatalog()
        self.scorers = {name: FunctionScorer(function) for name, function in functions.items()}
        for offset, name in enumerate(functions):
            descriptor = ModelDescriptor(name, "fake", 1, model_source_location="nowhere", data_type="component")
            self.catalog.apply(offset, version_key(name, 1), encode_descriptor(descriptor))
        self.route(Segment((Arm("live", "", graph=self.graph.name),)))
        for name, scorer in self.scorers.items():
            version = self.catalog.versions[name, 1]
            self.registry.loaded(version, LoadedModel(version, scorer))

    def route(self, segment: Segment, *graphs: Graph) -> None:
        """Publishes a route for the records' data type."""
        generation = Generation((segment,), graphs=graphs or (self.graph,))
        message = encode_route(ModelRoute(RECORD.name, (generation,)))
        self.catalog.apply(self.catalog.position, route_key(RECORD.name), message)
        self.registry.update(plans(self.catalog))

    def score(self, rows: list[dict[str, Any]], record_type: RecordType = RECORD) -> list[dict[str, Any]]:
        """The results of records, in order."""
        batch = batch_of([record_type.codec.encode({**record(0.0), **row}) for row in rows])
        settings = ScoringSettings({"records": record_type}, "results", "dead-letters")
        scored = score_batch(batch, self.registry, settings)
        assert {message.topic for message in scored.outgoing} <= {"results"}
        decoder = ResultDecoder(record_type.codec.embedding)
        return [decoder.decode(message.value or b"") for message in scored.outgoing]


def record(x: float, **fields: Any) -> dict[str, Any]:
    """A record; fields that are not given are empty."""
    return {"x": x, "y": None, "group": "", "parts": [], **fields}


def values(result: dict[str, Any], output: str) -> list[Any]:
    """The values of an output of a result."""
    found: list[Any] = result["outputs"][output]["values"]
    return found


def error(result: dict[str, Any]) -> str | None:
    """The error of a result."""
    found: str | None = result["modelResultMetadata"]["errors"]
    return found


def steps(result: dict[str, Any]) -> list[tuple[str, str | None, int | None, str | None]]:
    """The steps of a result: name, model, version, error."""
    found = result["modelResultMetadata"]["steps"]
    assert all(step["duration"] >= 0 for step in found)
    return [(step["name"], step["modelName"], step["modelVersion"], step["errors"]) for step in found]
