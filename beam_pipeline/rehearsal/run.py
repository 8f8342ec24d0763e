"""Scores recent records with a candidate and with the live model, as a worker would, and compares the answers."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from beam_pipeline.logs import without_start_lines
from beam_pipeline.rehearsal.recent_records import RecentRecord, recent_records
from models.artifacts.pickles import NO_PICKLES, AllowedPickles
from models.columns.scored import ScoredRecords
from models.errors import RehearsalError, ServingError
from models.kafka.client import KafkaSettings
from models.loading.admission import Admission
from models.loading.loader import LoadedModel, ModelLoader
from models.model_topic.catalog import ModelCatalog
from models.model_topic.inline_models import InlineModels
from models.model_topic.published import PublishedVersion
from models.model_topic.transactions import TopicTransactions
from models.records.codecs.base import RecordCodec
from models.records.record_type import RecordType
from models.rehearsal.comparison import AnswerTally, ComparisonTally
from models.rehearsal.limits import Rehearsal
from models.routing.plan import plans
from models.scorers import prepare_engines
from models.serving.calling import score_with
from models.serving.scoring import by_data_type
from transforms.file_systems import BeamOpener


@dataclass(frozen=True)
class RehearsalSettings:
    """The settings of a rehearsal.

    Attributes:
      name, version: the candidate.
      against: the version to compare it with; None for the one that answers now.
      last: the number of records.
      batch: the maximum number of records in a call.
      tolerance: the difference up to which two numbers agree (`models.columns.agreement`).
      pickles: the pickles that may be loaded.
    """

    name: str
    version: int
    against: tuple[str, int] | None
    last: int
    batch: int
    tolerance: float
    pickles: AllowedPickles = NO_PICKLES


def rehearse(
    kafka: KafkaSettings, models_topic: str, record_types: Mapping[str, RecordType], settings: RehearsalSettings
) -> Rehearsal:
    """Scores the last records of the topics with both models.

    Args:
      kafka: the brokers.
      models_topic: the topic of the versions.
      record_types: the record type of each topic.
      settings: the settings of the rehearsal.

    Raises:
      RehearsalError: the version does not exist, no record suits it, or a model cannot be loaded.
      ServingError: a topic cannot be read.
    """
    catalog = TopicTransactions(kafka, models_topic).read()
    candidate = _version(catalog, settings.name, settings.version)
    live = _live(catalog, candidate) if settings.against is None else _version(catalog, *settings.against)
    if live is not None and live.same_model(candidate):
        raise RehearsalError(f"model {candidate.label} answers records already; name another one with --against")
    with without_start_lines():
        prepare_engines({one.descriptor.model_type for one in (candidate, live) if one is not None})
    codecs = {topic: kind.codec for topic, kind in record_types.items()}
    with ExitStack() as opened:
        inline = opened.enter_context(closing(InlineModels(kafka, models_topic)))
        loader = ModelLoader(BeamOpener(), inline.fetch, list(codecs.values()), measured=True, pickles=settings.pickles)
        models = [opened.enter_context(closing(_loaded(loader, one))) for one in (candidate, live) if one is not None]
        records = recent_records(kafka, record_types, settings.last)
        return _compared(
            models, live, _Decoded(records, codecs, candidate.descriptor.data_type, settings.batch), settings
        )


def _version(catalog: ModelCatalog, name: str, number: int) -> PublishedVersion:
    if (name, number) not in catalog.versions:
        existing = ", ".join(f"{one}/{known}" for one, known in sorted(catalog.versions) if one == name) or "none"
        raise RehearsalError(f"model {name}/{number} is not in the models topic; existing versions: {existing}")
    return catalog.versions[name, number]


def _live(catalog: ModelCatalog, candidate: PublishedVersion) -> PublishedVersion | None:
    """The version that answers most records of the data type now, not counting segments with a condition.

    Raises:
      RehearsalError: a graph answers them.
    """
    data_type = candidate.descriptor.data_type
    plan = plans(catalog).get(data_type, ())
    arms = [arm for arm in plan[0].segments[-1].arms if arm.role == "serve" and arm.answers] if plan else []
    if not arms:
        return None
    serving = max(arms, key=lambda arm: arm.weight)
    if serving.graph is not None:
        raise RehearsalError(f"a graph answers {data_type!r} records; name the version to compare with --against")
    return serving.versions[0] if serving.versions else None


def _loaded(loader: ModelLoader, version: PublishedVersion) -> LoadedModel:
    try:
        return loader.load(version)
    except ServingError as error:
        raise RehearsalError(f"model {version.label} may not serve: {error}") from error


@dataclass
class _Decoded:
    """The records of one data type, as batches of columns with their codecs; counts malformed records."""

    records: Sequence[RecentRecord]
    codecs: Mapping[str, RecordCodec]
    data_type: str
    batch: int
    malformed: int = 0

    def __iter__(self) -> Iterator[tuple[RecordCodec, pa.RecordBatch]]:
        for topic, codec in self.codecs.items():
            records = [one for one in self.records if one.topic == topic]
            headers = {place: one.headers for place, one in enumerate(records) if one.headers}
            decoded = codec.decode(pa.array([one.value for one in records], pa.binary()), headers)
            self.malformed += len(decoded.errors)
            for data_type, rows in by_data_type(decoded.columns, codec):
                if data_type == self.data_type:
                    columns = decoded.columns.take(pa.array(rows))
                    for start in range(0, columns.num_rows, self.batch):
                        yield codec, columns.slice(start, self.batch)


def _compared(
    models: Sequence[LoadedModel], live: PublishedVersion | None, batches: _Decoded, settings: RehearsalSettings
) -> Rehearsal:
    tallies = [AnswerTally() for _ in models]
    comparison = ComparisonTally(settings.tolerance)
    for number, (codec, columns) in enumerate(batches):
        answers: dict[int, list[ScoredRecords]] = {}
        # They take turns, so that neither always finds the columns in the processor's cache.
        for place in sorted(range(len(models)), reverse=number % 2 == 1):
            began = time.perf_counter()
            answers[place] = list(
                score_with(models[place], _count_nothing, codec, columns, np.arange(columns.num_rows))
            )
            tallies[place].add(answers[place], time.perf_counter() - began)
        if live is not None:
            comparison.add(answers[0], answers[1])
    if not tallies[0].records:
        raise RehearsalError(
            f"none of the last {len(batches.records)} records of {', '.join(batches.codecs)} is a record of "
            f"{batches.data_type!r}; {batches.malformed} of them are malformed"
        )
    version = models[0].version
    return Rehearsal(
        version.label,
        None if live is None else live.label,
        batches.data_type,
        batches.malformed,
        Admission.of(version.descriptor.options).non_finite_allowed,
        tallies[0].performance(),
        None if live is None else tallies[1].performance(),
        None if live is None else comparison.comparison(),
    )


def _count_nothing(records: int, errors: int, milliseconds: float) -> None:
    pass
