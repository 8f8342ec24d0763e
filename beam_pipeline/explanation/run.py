"""Explains the answer in one result with the version of the model that gave it."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from beam_pipeline.logs import without_start_lines
from beam_pipeline.rehearsal.recent_records import recent_records
from models.artifacts.pickles import NO_PICKLES, AllowedPickles
from models.columns.scored import ModelIdentity
from models.errors import ExplanationError, ServingError
from models.explaining.attribution import Attributions, Explanation, RecordCoordinates
from models.explaining.explainer import Explainer, ExplainerSettings
from models.kafka.client import KafkaSettings
from models.loading.loader import LoadedModel, ModelLoader
from models.model_topic.catalog import ModelCatalog
from models.model_topic.inline_models import InlineModels
from models.model_topic.published import PublishedVersion
from models.model_topic.transactions import TopicTransactions
from models.records.codecs.base import RecordCodec
from models.scorers import prepare_engines
from models.serving.scoring import by_data_type
from models.text import error_text
from transforms.file_systems import BeamOpener

_SAME = 1e-3


@dataclass(frozen=True)
class Question:
    """A result to explain, and how.

    Attributes:
      result: the decoded result (`models.results.decoder`).
      codec: the codec of its record's topic.
      settings: how the answer is explained.
      background: the number of recent records of the topic that stand in for the record; 0 for zeros.
      pickles: the pickles that may be loaded.
    """

    result: Mapping[str, Any]
    codec: RecordCodec
    settings: ExplainerSettings
    background: int
    pickles: AllowedPickles = NO_PICKLES


@dataclass(frozen=True)
class Answer:
    """An explanation, and what is in the result.

    Attributes:
      explanation: the explanation.
      answered: the explained number as it is in the result; None if the result does not contain it.
    """

    explanation: Explanation
    answered: float | None

    @property
    def repeated(self) -> bool:
        """Whether the model gave the same answer again."""
        again = self.explanation.attributions.prediction
        return self.answered is not None and math.isclose(self.answered, again, rel_tol=_SAME, abs_tol=_SAME**2)


def explain_result(kafka: KafkaSettings, models_topic: str, question: Question) -> Answer:
    """Loads the version that answered, and explains its answer.

    Raises:
      ExplanationError: the result has no answer of a single model, or that version is gone or cannot be loaded.
      ServingError: a topic cannot be read.
    """
    metadata = question.result["modelResultMetadata"]
    check_answer(metadata)
    record = record_of(question.result, question.codec)
    data_type = next(by_data_type(record, question.codec))[0]
    version = version_of(TopicTransactions(kafka, models_topic).read(), metadata, models_topic)
    with without_start_lines():
        prepare_engines({version.descriptor.model_type})
    with ExitStack() as opened:
        inline = opened.enter_context(closing(InlineModels(kafka, models_topic)))
        loader = ModelLoader(BeamOpener(), inline.fetch, [question.codec], pickles=question.pickles)
        model = opened.enter_context(closing(_loaded(loader, version, metadata)))
        explainer = opened.enter_context(closing(Explainer(BeamOpener(), inline.fetch, question.settings)))
        background = _background(kafka, metadata["topic"], question, record, data_type)
        began = time.monotonic()
        attributions = explainer.explain(model, question.codec, record, background)
    where = RecordCoordinates(metadata["topic"], metadata["partition"], metadata["offset"])
    duration = round((time.monotonic() - began) * 1e6)
    explanation = Explanation(where, data_type, _identity(metadata), attributions, duration)
    return Answer(explanation, _answered(question.result["outputs"], attributions))


def check_answer(metadata: Mapping[str, Any]) -> None:
    """Raises ExplanationError unless one model answered."""
    if metadata["errors"] is not None:
        raise ExplanationError(f"the result has no answer, but an error: {metadata['errors']}")
    if metadata["steps"]:
        raise ExplanationError("a graph gave the answer; only answers of a single model can be explained")
    if metadata["modelName"] is None:
        raise ExplanationError("no model gave the answer")


def record_of(result: Mapping[str, Any], codec: RecordCodec) -> pa.RecordBatch:
    """The columns of the record that a result embeds: one row.

    Raises:
      ExplanationError: it does not follow the schema.
    """
    record = result["inputRecord"]
    try:
        if not isinstance(record, bytes):
            return codec.columns_of(record)
        decoded = codec.decode(pa.array([record], pa.binary()))
    except (ValueError, TypeError, KeyError) as error:
        raise ExplanationError(f"the record in the result does not follow the schema: {error_text(error)}") from error
    for reason in decoded.errors.values():
        raise ExplanationError(f"the record in the result cannot be decoded: {reason}")
    return decoded.columns


def version_of(catalog: ModelCatalog, metadata: Mapping[str, Any], topic: str) -> PublishedVersion:
    """The version that answered: its descriptor's message, or the same model published again.

    Raises:
      ExplanationError: it is not in the models topic any more.
    """
    name, number, digest = metadata["modelName"], metadata["modelVersion"], metadata["digest"]
    for version in catalog.versions.values():
        if version.offset == metadata["descriptorOffset"] and version.descriptor.model_name == name:
            return version
    again = catalog.versions.get((name, number)) if digest is not None else None
    if again is not None and (again.descriptor.digest or "").lower() == digest:
        return again
    existing = ", ".join(f"{one}/{known}" for one, known in sorted(catalog.versions) if one == name) or "none"
    label = name if number is None else f"{name}/{number}"
    raise ExplanationError(
        f"model {label}, which gave the answer, is not in the models topic {topic!r} any more; existing versions: "
        f"{existing}"
    )


def _loaded(loader: ModelLoader, version: PublishedVersion, metadata: Mapping[str, Any]) -> LoadedModel:
    try:
        model = loader.load(version)
    except ServingError as error:
        raise ExplanationError(f"model {version.label} cannot be loaded: {error}") from error
    if model.scorer.digest != metadata["digest"]:
        model.close()
        raise ExplanationError(
            f"model {version.label} has the digest {model.scorer.digest}, but the one that gave the answer has "
            f"{metadata['digest']}"
        )
    return model


def _background(
    kafka: KafkaSettings, topic: str, question: Question, record: pa.RecordBatch, data_type: str
) -> pa.RecordBatch | None:
    """Recent records of the same data type, without the record itself; None if there are none."""
    if not question.background:
        return None
    recent = recent_records(kafka, [topic], question.background)
    headers = {place: one.headers for place, one in enumerate(recent) if one.headers}
    decoded = question.codec.decode(pa.array([one.value for one in recent], pa.binary()), headers)
    parts: Sequence[pa.RecordBatch] = [
        decoded.columns.slice(row, 1)
        for found, rows in by_data_type(decoded.columns, question.codec)
        if found == data_type
        for row in rows.tolist()
    ]
    others = [one for one in parts if not one.equals(record)]
    return pa.concat_batches(others) if others else None


def _identity(metadata: Mapping[str, Any]) -> ModelIdentity:
    return ModelIdentity(
        metadata["modelName"],
        metadata["modelVersion"],
        metadata["modelType"],
        metadata["modelSourceLocation"],
        metadata["digest"],
        metadata["descriptorOffset"],
    )


def _answered(outputs: Mapping[str, Any], found: Attributions) -> float | None:
    explained = found.explained
    tensor = outputs.get(explained.output)
    if tensor is None:
        return None
    values = np.array(tensor["values"], np.float64).reshape(tensor["shape"])
    place = explained.component if explained.item is None else (explained.item, *explained.component)
    return float(values[place])
