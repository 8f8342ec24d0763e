"""Batches of records and their answers, scored as workers do it, by a model without an engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from models.columns.scored import RouteIdentity
from models.errors import ScoringError
from models.observing.answered import AnsweredBatch, StageTimes
from models.observing.instruments import PAYLOADS
from models.observing.payloads.payload import Payload, payloads_of
from models.observing.totals import Totals
from models.scorers.base import Scores
from models.serving.calling import score_with
from models.tensors import Array, Signature, TensorSpec
from tests.models.fakes import FLOAT, FakeScorer, batch_of, fake_model, published, schema_of

KIND = schema_of(x="float", y=["null", "float"], label=["null", "string"], dataType="string")


class Classifier(FakeScorer):
    """`v` float32 [None, 2] -> `scores` float32 [None, 2], which sum to 1, and `label`; fails for negative values."""

    def __init__(self, number: int = 3) -> None:
        super().__init__(number)
        self.signature = Signature("predict", {"v": TensorSpec("v", FLOAT, (None, 2))})

    def score(self, inputs: Mapping[str, Array]) -> Scores:
        values = inputs["v"].astype(np.float32)
        if (values < 0).any():
            raise ScoringError("a negative value")
        labels = np.array([b"low", b"high"], object)[(values[:, 0] > 0.5).astype(int)]
        return Scores({"label": labels, "scores": np.stack([values[:, 0], 1 - values[:, 0]], axis=1)})


class Lengths(FakeScorer):
    """`text` string [None] -> `length` int64 [None]."""

    def __init__(self, number: int = 3) -> None:
        super().__init__(number)
        self.signature = Signature("lengths", {"text": TensorSpec("text", np.dtype(object), (None,))})

    def score(self, inputs: Mapping[str, Array]) -> Scores:
        return Scores({"length": np.array([len(one) for one in inputs["text"].tolist()])})


def record(x: float = 0.25, y: float | None = 2.0, label: str | None = "a") -> dict[str, Any]:
    return {"x": x, "y": y, "label": label, "dataType": "m"}


def answered(
    records: Sequence[Mapping[str, Any]],
    scorer: FakeScorer | None = None,
    route: RouteIdentity | None = None,
    live: bool = True,
    start: int = 0,
    inputs: Mapping[str, tuple[str, ...]] | None = None,
) -> AnsweredBatch:
    """The records as a batch at every second offset of partition 3, with their answers."""
    version = published(3)
    version = replace(version, descriptor=replace(version.descriptor, inputs=inputs or {"v": ("x", "y")}))
    batch = batch_of([KIND.codec.encode(one) for one in records], start=start)
    decoded = KIND.codec.decode(batch.values)
    model = fake_model(version, scorer or Classifier())
    parts = score_with(model, lambda *_: None, KIND.codec, decoded.columns, np.arange(len(decoded)), route)
    scored = [replace(one, data_type="m") for one in parts]
    return AnsweredBatch(batch, decoded, scored, {}, StageTimes(0, 1, 2, 3), live)


def every(batch: AnsweredBatch) -> list[Payload]:
    """The payloads of all records of a batch."""
    return list(payloads_of(batch, np.ones(len(batch.batch), np.bool_)))


def counted(totals: Totals) -> dict[str, float]:
    """The payloads by outcome."""
    return {labels[0]: number for (one, labels), number in totals.snapshot().numbers.items() if one is PAYLOADS}
