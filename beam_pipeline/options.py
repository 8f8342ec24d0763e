"""The options of a deployment: one frozen value, checked before a pipeline is built.

Every command imports this module to parse its arguments, so it imports nothing that takes long: the settings that the
options stand for are imported by the methods that give them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

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

# The record formats whose schema may be left out: it is then the latest of the records topic in the schema registry.
REGISTRY_FORMATS = ("confluent-avro",)


def latest_schema_of(topic: str) -> str:
    """The name of the latest schema of a topic's values in a schema registry.

    >>> latest_schema_of("records")
    'subject:records-value'
    """
    return f"subject:{topic}-value"


def codec_options(topic: str | None, registry: str | None, config: Mapping[str, str]) -> dict[str, str]:
    """The options of a record type: of records on a topic, with schemas in a registry.

    >>> codec_options("records", None, {})
    {}
    """
    if registry is None:
        return {}
    from models.records.registry import registry_options

    subject = {} if topic is None else {"subject": f"{topic}-value"}
    return {**registry_options(registry, config), **subject}


@dataclass(frozen=True)
class ServingOptions:
    """Everything that `beam-serving run` can be told; the attributes are its options."""

    bootstrap_servers: str
    records_topic: str
    models_topic: str
    results_topic: str
    dead_letter_topic: str
    record_schema: str | None = None
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
    schema_registry: str | None = None
    schema_registry_config: Mapping[str, str] = field(default_factory=dict)
    kafka_config: Mapping[str, str] = field(default_factory=dict)
    runner: str = "DirectRunner"
    runner_arguments: tuple[str, ...] = ()

    def kafka(self) -> KafkaSettings:
        """How to reach the brokers."""
        from models.kafka.client import KafkaSettings

        return KafkaSettings(self.bootstrap_servers, dict(self.kafka_config))

    def record_type(self) -> RecordType:
        """Raises SchemaError when the record schema cannot be read."""
        from models.records.record_type import RecordType

        return RecordType.named(
            self.record_schema or latest_schema_of(self.records_topic), self.record_format, self.codec_options()
        )

    def codec_options(self) -> dict[str, str]:
        """What the codec of the record format has to know beside the schema."""
        return codec_options(self.records_topic, self.schema_registry, self.schema_registry_config)

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
            self.record_type(),
            self.engine_types(),
            self.group,
            data_types,
            self.models_timeout,
        )

    def scoring(self) -> ScoringSettings:
        """Where results go."""
        from models.serving.assembly import ScoringSettings

        return ScoringSettings(self.record_type(), self.results_topic, self.dead_letter_topic, self.result_key)
