"""Models without an engine, and the values around them, for tests of the code that uses models."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import strategies as st

from models.errors import ModelLoadError
from models.loading.loader import LoadedModel
from models.model_topic.descriptor import ModelDescriptor
from models.model_topic.published import PublishedVersion
from models.records.batch import Headers, OffsetSpan, RecordBatch
from models.records.record_type import RecordFormat, RecordType
from models.scorers.base import Scores
from models.serving.leases import Coordinates
from models.serving.registry import ModelRegistry
from models.tensors import Array, Signature, TensorSpec

FLOAT = np.dtype(np.float32)
X_SIGNATURE = Signature("serving_default", {"x": TensorSpec("x", FLOAT, (None,))})

TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)
LONGS = st.integers(-(2**63), 2**63 - 1)
SURROGATES = st.text(st.characters(codec=None, categories=["Lu", "Cs"]))
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**40), 10**40) | st.floats() | SURROGATES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(SURROGATES, inner, max_size=3),
)


def schema_of(record_format: RecordFormat = "avro", **fields: Any) -> RecordType:
    """A record schema with these fields, named Test."""
    declared = [{"name": name, "type": kind} for name, kind in fields.items()]
    return RecordType("Test", json.dumps({"type": "record", "name": "Test", "fields": declared}), record_format)


X_SCHEMA = schema_of(x="float", dataType="string")


def published(
    number: int, name: str = "m", offset: int | None = None, data_type: str | None = None, inline: bool = False
) -> PublishedVersion:
    """A version in a models topic; by default, each number has its own offset."""
    descriptor = ModelDescriptor(
        name, "fake", number, model_source_location=None if inline else "nowhere", data_type=data_type or ""
    )
    return PublishedVersion(descriptor, number * 10 if offset is None else offset, inline)


class FakeScorer:
    """Returns its number for each row; fails when it is called after it was closed, or closed twice."""

    def __init__(self, number: int, on_close: Callable[[], None] | None = None) -> None:
        self.number = number
        self.signature = X_SIGNATURE
        self.digest: str | None = "0" * 64
        self.address = f"fake:{number}"
        self.batch_deadline: float | None = None
        self.closed = threading.Event()
        self._on_close = on_close

    def score(self, inputs: Mapping[str, Array]) -> Scores:
        assert not self.closed.is_set(), f"model {self.number} was asked after it was closed"
        return Scores({"version": np.full(len(inputs["x"]), self.number, np.int64)})

    def close(self) -> None:
        assert not self.closed.is_set(), f"model {self.number} was closed twice"
        self.closed.set()
        if self._on_close:
            self._on_close()


def fake_model(version: PublishedVersion, scorer: Any = None) -> LoadedModel:
    """A loaded model; its scorer is a `FakeScorer` with the version's number unless one is given."""
    scorer = scorer or FakeScorer(version.descriptor.model_version)
    return LoadedModel(version, scorer)


def scorer_of(model: LoadedModel) -> FakeScorer:
    """The fake scorer of a model from `fake_model`."""
    assert isinstance(model.scorer, FakeScorer)
    return model.scorer


class OneLease:
    """A lease of the models for one record, with at most one model."""

    def __init__(self, registry: ModelRegistry, data_type: str = "m", offset: int = 0, timestamp: int = 0) -> None:
        coordinates = Coordinates("records", 0, np.array([offset]), np.array([timestamp]))
        self._registry = registry
        self._lease = registry.lease(data_type, coordinates)
        (part,) = self._lease.parts
        self._arm = part.arms[0][0] if part.arms else None

    @property
    def model(self) -> LoadedModel | None:
        return self._arm.model if self._arm else None

    @property
    def error(self) -> str | None:
        return self._arm.error if self._arm else None

    def count(self, records: int, errors: int, milliseconds: float) -> None:
        if self._arm and self._arm.pooled:
            self._registry.count(self._arm.pooled, records, errors, milliseconds)

    def __enter__(self) -> OneLease:
        return self

    def __exit__(self, *error: object) -> None:
        self._lease.give_back([self._arm.pooled] if self._arm and self._arm.pooled else [])


class NoOpener:
    """An opener that opens nothing."""

    def download(self, location: str, folder: Path) -> Path:
        raise ModelLoadError(f"nothing is at {location}")


def columns_of(kind: RecordType, rows: Sequence[Mapping[str, Any]]) -> pa.RecordBatch:
    """The columns of these records, decoded from their messages."""
    decoded = kind.codec.decode(pa.array([kind.codec.encode(row) for row in rows], pa.binary()))
    assert not decoded.errors
    return decoded.columns


def rows_of(columns: pa.RecordBatch) -> list[dict[str, Any]]:
    """The rows of columns, with maps converted back to dictionaries."""
    rows: list[dict[str, Any]] = columns.to_pylist(maps_as_pydicts="strict")
    return rows


def batch_of(
    values: Sequence[bytes | None],
    keys: Sequence[bytes | None] | None = None,
    headers: Sequence[Headers] | None = None,
    start: int = 0,
) -> RecordBatch:
    """Records of partition 3 of a topic, at every second offset."""
    offsets = [start + 2 * index for index in range(len(values))]
    end = offsets[-1] + 1 if offsets else start
    return RecordBatch.of(
        OffsetSpan("records", "topic-id", 3, 0, start, end),
        offsets,
        [1000 + offset for offset in offsets],
        list(keys) if keys is not None else [f"k{offset}".encode() for offset in offsets],
        list(values),
        list(headers) if headers is not None else [()] * len(values),
    )
