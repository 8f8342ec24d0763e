"""The options of a deployment: one frozen value, checked before a pipeline is built.

Every command imports this module to parse its arguments, so it imports nothing that takes long: the settings that the
options stand for are imported by the methods that give them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from models.errors import OptionsError
from models.kafka.start_at import StartAt
from models.scorers import SCORER_MODULES

if TYPE_CHECKING:
    from models.kafka.client import KafkaSettings
    from models.kafka.partition_reader import OnGap, ReadSettings
    from models.records.record_type import RecordFormat, RecordType
    from models.serving.assembly import ResultKey, ScoringSettings
    from transforms.kafka_source import Pace
    from transforms.scoring import OnUpdate
    from transforms.serving_process import ModelsSettings

NO_ENGINES = "none"

ResultHeaders = Literal["record", "cloud-events"]


@dataclass(frozen=True)
class RecordsTopic:
    """A topic of records, and how to read them.

    Attributes:
      topic: its name.
      schema, format: as `--record-schema` and `--record-format` say it.
    """

    topic: str
    schema: str
    format: RecordFormat = "avro"

    def record_type(self) -> RecordType:
        """Raises SchemaError when the schema cannot be read."""
        from models.records.record_type import RecordType

        return RecordType.named(self.schema, self.format)


@dataclass(frozen=True)
class ServingOptions:
    """Everything that `beam-serving run` can be configured with; the attributes are its options.

    A deployment may score several topics: the first is in `records_topic`, `record_schema` and `record_format`, the
    others are `further_records` (the list `records` of a configuration file).
    """

    bootstrap_servers: str
    records_topic: str
    models_topic: str
    results_topic: str
    dead_letter_topic: str
    record_schema: str
    status_topic: str | None = None
    record_format: RecordFormat = "avro"
    start: str = "committed"
    on_gap: OnGap = "fail"
    group: str = "beam-serving"
    max_batch: int = 2_000
    max_batch_wait_ms: int = 30
    on_update: OnUpdate = "swap"
    data_types: str | None = None
    models_timeout: int = 60
    engines: str = "tensorflow-saved-model"
    result_key: ResultKey = "record"
    result_headers: ResultHeaders = "record"
    kafka_config: Mapping[str, str] = field(default_factory=dict)
    runner: str = "DirectRunner"
    runner_arguments: tuple[str, ...] = ()
    further_records: tuple[RecordsTopic, ...] = ()

    def kafka(self) -> KafkaSettings:
        """How to reach the brokers."""
        from models.kafka.client import KafkaSettings

        return KafkaSettings(self.bootstrap_servers, dict(self.kafka_config))

    def records_topics(self) -> tuple[RecordsTopic, ...]:
        """All topics that are scored."""
        return (RecordsTopic(self.records_topic, self.record_schema, self.record_format), *self.further_records)

    def record_types(self) -> dict[str, RecordType]:
        """The type of the records of each topic; raises SchemaError when a schema cannot be read."""
        return {one.topic: one.record_type() for one in self.records_topics()}

    def reading(self) -> ReadSettings:
        """How the records topic is read; raises OptionsError when --start cannot be read."""
        from models.kafka.partition_reader import ReadSettings

        return ReadSettings(self.kafka(), self.group, self.start_at(), self.on_gap, self.max_batch)

    def start_at(self) -> StartAt:
        """Where reading begins; raises OptionsError when --start cannot be read."""
        return StartAt.parse(self.start)

    def engine_types(self) -> tuple[str, ...]:
        """The model types whose engines a worker imports when it starts; raises OptionsError for an unknown one."""
        named = tuple(name.strip() for name in self.engines.split(","))
        if named == (NO_ENGINES,):
            return ()
        for name in named:
            if name not in SCORER_MODULES:
                known = ", ".join(SCORER_MODULES)
                raise OptionsError(f"--engines {name!r} is not a model type; use {NO_ENGINES}, or some of {known}")
        return named

    def pace(self) -> Pace:
        """The pauses of the source."""
        from transforms.kafka_source import Pace

        return Pace(idle_seconds=self.max_batch_wait_ms / 1000)

    def models(self) -> ModelsSettings:
        """Where models come from, and what scores them."""
        from transforms.serving_process import ModelsSettings

        data_types = tuple(part.strip() for part in (self.data_types or "").split(",") if part.strip())
        return ModelsSettings(
            self.kafka(),
            self.models_topic,
            tuple(self.record_types().values()),
            self.engine_types(),
            self.group,
            data_types,
            self.models_timeout,
        )

    def scoring(self) -> ScoringSettings:
        """Where results go."""
        from models.serving.assembly import ScoringSettings

        cloud_events = self.result_headers == "cloud-events"
        return ScoringSettings(
            self.record_types(), self.results_topic, self.dead_letter_topic, self.result_key, cloud_events
        )
