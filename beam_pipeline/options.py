"""The options of a deployment: one frozen value that is checked before a pipeline is built.

Every command imports this module to parse its arguments, so it must not import slow libraries. The methods that build
settings from the options import what they need themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from models.errors import OptionsError
from models.kafka.start_at import StartAt
from models.scorers import model_types

if TYPE_CHECKING:
    from models.explaining.settings import ExplanationSettings
    from models.kafka.client import KafkaSettings
    from models.kafka.partition_reader import OnGap, ReadSettings
    from models.observing.drift.settings import DriftSettings
    from models.observing.lineage.settings import LineageSettings
    from models.observing.otlp_settings import OtlpSettings
    from models.observing.payloads.settings import PayloadSettings
    from models.observing.prometheus_settings import PrometheusSettings
    from models.observing.settings import ObservationSettings
    from models.records.record_type import RecordFormat, RecordType
    from models.results.dead_letter import DeadLetterTopic
    from models.serving.assembly import ResultKey, ScoringSettings
    from transforms.kafka_source import Pace
    from transforms.scoring import OnUpdate
    from transforms.serving_process import ModelsSettings

NO_ENGINES = "none"

# The record formats whose schema may be left out: it is then the latest of the records topic in the schema registry.
REGISTRY_FORMATS = ("confluent-avro",)

ResultHeaders = Literal["record", "cloud-events"]
Switch = Literal["on", "off"]
DeadLetterFormat = Literal["avro", "confluent-avro"]


def latest_schema_of(topic: str) -> str:
    """The name of the latest schema of a topic's values in a schema registry.

    >>> latest_schema_of("records")
    'subject:records-value'
    """
    return f"subject:{topic}-value"


def codec_options(topic: str, registry: str | None, config: Mapping[str, str]) -> dict[str, str]:
    """The options of a record type whose schemas are in a registry; `topic` is empty if it is for no single topic.

    >>> codec_options("records", None, {})
    {}
    """
    if registry is None:
        return {}
    from models.records.registry import registry_options

    subject = {"subject": f"{topic}-value"} if topic else {}
    return {**registry_options(registry, config), **subject}


@dataclass(frozen=True)
class RecordsTopic:
    """A topic of records and how to decode them.

    Attributes:
      topic: the name of the topic.
      schema, format: values as for `--record-schema` and `--record-format`; the schema may be omitted for a format
          that uses a schema registry.
    """

    topic: str
    schema: str | None = None
    format: RecordFormat = "avro"

    def record_type(self, registry: str | None, registry_config: Mapping[str, str]) -> RecordType:
        """The type of the topic's records.

        Args:
          registry: the address of the schema registry, if there is one.
          registry_config: settings of its client.

        Raises:
          SchemaError: the schema cannot be read.
        """
        from models.records.record_type import RecordType

        options = codec_options(self.topic, registry, registry_config)
        return RecordType.named(self.schema or latest_schema_of(self.topic), self.format, options)


@dataclass(frozen=True)
class ServingOptions:
    """The complete configuration of `beam-serving run`; each attribute is one of its options.

    A deployment may score several topics, listed under `records` in a configuration file. The first one fills
    `records_topic`, `record_schema` and `record_format`; the others are in `further_records`.
    """

    bootstrap_servers: str
    records_topic: str
    models_topic: str
    results_topic: str
    dead_letter_topic: str
    record_schema: str | None = None
    status_topic: str | None = None
    shadow_topic: str | None = None
    feedback_topic: str | None = None
    record_format: RecordFormat = "avro"
    start: str = "committed"
    on_gap: OnGap = "fail"
    group: str = "beam-serving"
    max_batch: int = 2_000
    max_batch_wait_ms: int = 10
    on_update: OnUpdate = "swap"
    data_types: str | None = None
    models_timeout: int = 60
    model_wait: int = 60
    model_memory: int | None = None
    model_loads: int = 2
    engines: str = "tensorflow-saved-model"
    allow_pickle: str | None = None
    result_key: ResultKey = "record"
    result_headers: ResultHeaders = "record"
    dead_letter_format: DeadLetterFormat = "avro"
    schema_registry: str | None = None
    schema_registry_config: Mapping[str, str] = field(default_factory=dict)
    kafka_config: Mapping[str, str] = field(default_factory=dict)
    metrics_port: int | None = None
    payload_share: float = 0.0
    payload_folder: str | None = None
    payload_topic: str | None = None
    payload_seconds: int = 300
    payload_megabytes: int = 64
    openlineage_url: str | None = None
    otlp_endpoint: str | None = None
    trace_share: float = 0.0
    explain_share: float = 0.0
    explain_topic: str | None = None
    explain_output: str | None = None
    outliers: Switch = "off"
    drift_topic: str | None = None
    drift_window: int = 60
    drift_min_records: int = 500
    runner: str = "DirectRunner"
    runner_arguments: tuple[str, ...] = ()
    further_records: tuple[RecordsTopic, ...] = ()

    def kafka(self) -> KafkaSettings:
        """The settings for connecting to the brokers."""
        from models.kafka.client import KafkaSettings

        return KafkaSettings(self.bootstrap_servers, dict(self.kafka_config))

    def records_topics(self) -> tuple[RecordsTopic, ...]:
        """All topics to score, the first one included."""
        return (RecordsTopic(self.records_topic, self.record_schema, self.record_format), *self.further_records)

    def record_types(self) -> dict[str, RecordType]:
        """The record type of each topic, by topic; raises SchemaError when a schema cannot be read."""
        registry, config = self.schema_registry, self.schema_registry_config
        return {one.topic: one.record_type(registry, config) for one in self.records_topics()}

    def reading(self) -> ReadSettings:
        """The settings for reading the records topics; raises OptionsError when --start is malformed."""
        from models.kafka.partition_reader import ReadSettings

        return ReadSettings(self.kafka(), self.group, self.start_at(), self.on_gap, self.max_batch)

    def start_at(self) -> StartAt:
        """Where reading starts; raises OptionsError when --start is malformed."""
        return StartAt.parse(self.start)

    def engine_types(self) -> tuple[str, ...]:
        """The model types whose engines workers import at start-up; raises OptionsError for an unknown type."""
        named = tuple(name.strip() for name in self.engines.split(","))
        if named == (NO_ENGINES,):
            return ()
        known_types = model_types()
        for name in named:
            if name not in known_types:
                known = ", ".join(known_types)
                raise OptionsError(f"--engines {name!r} is not a model type; use {NO_ENGINES}, or any of {known}")
        return named

    def pace(self) -> Pace:
        """How often the source polls."""
        from transforms.kafka_source import Pace

        live = self.max_batch_wait_ms / 1000
        return Pace(idle_seconds=max(live, Pace.idle_seconds), live_seconds=live)

    def models(self) -> ModelsSettings:
        """The settings for following the models topic and loading models; raises OptionsError for a wrong value."""
        from models.artifacts.pickles import AllowedPickles
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
            self.model_wait,
            None if self.model_memory is None else self.model_memory * 1_000_000,
            self.model_loads,
            self.status_topic,
            self.feedback_topic,
            AllowedPickles.parse(self.allow_pickle),
            self.explanations(),
            self.outliers == "on",
        )

    def written_topics(self) -> tuple[str, ...]:
        """The topics of what is computed from records, without those of samples that are not taken."""
        payloads = self.payload_topic if self.payload_share else None
        explanations = self.explain_topic if self.explain_share else None
        topics = (self.results_topic, self.dead_letter_topic, self.shadow_topic, payloads, explanations)
        return tuple(topic for topic in topics if topic is not None)

    def explanations(self) -> ExplanationSettings | None:
        """What workers explain, or None for nothing; raises OptionsError for a share without a topic."""
        if not self.explain_share:
            return None
        if self.explain_topic is None:
            raise OptionsError(f"missing: --explain-topic (--explain-share {self.explain_share:g} needs one)")
        from models.explaining.settings import ExplanationSettings

        return ExplanationSettings(self.explain_topic, self.explain_share, self.explain_output)

    def observation(self) -> ObservationSettings:
        """The exporters of what the deployment measures, and the listeners that look at its answers.

        Raises:
          OptionsError: a payload log has no destination, or one that cannot be written to; or the address of the
            OpenLineage endpoint is malformed.
          MissingExtraError: a package of an optional part is missing.
        """
        from models.observing.settings import ObservationSettings

        page = self._prometheus()
        return ObservationSettings(page, self._payloads(), self._lineage(), self._otlp(), self.drift())

    def _prometheus(self) -> PrometheusSettings | None:
        """The page with metrics; None for no page."""
        if self.metrics_port is None:
            return None
        from models.observing.prometheus_settings import PrometheusSettings

        return PrometheusSettings(self.metrics_port, self.group)

    def _otlp(self) -> OtlpSettings | None:
        """Where metrics and traces go over OTLP; None for nowhere."""
        if self.otlp_endpoint is None:
            if self.trace_share:
                raise OptionsError("missing: --otlp-endpoint (--trace-share needs one)")
            return None
        from models.observing.otlp_settings import OtlpSettings

        settings = OtlpSettings(self.otlp_endpoint, self.group, self.trace_share)
        settings.check()
        return settings

    def _payloads(self) -> PayloadSettings | None:
        """The payload log; None if it is off."""
        if not self.payload_share:
            return None
        from models.observing.payloads.file_settings import FileSettings
        from models.observing.payloads.settings import PayloadSettings, TopicSettings
        from transforms.file_systems import BeamFiles, check_folder

        files = topic = None
        if self.payload_folder is not None:
            check_folder(self.payload_folder, "payload-folder")
            files = FileSettings(self.payload_folder, BeamFiles(), self.payload_seconds, self.payload_megabytes)
        if self.payload_topic is not None:
            topic = TopicSettings(self.kafka(), self.payload_topic)
        settings = PayloadSettings(self.payload_share, self.group, files, topic)
        settings.check()
        return settings

    def _lineage(self) -> LineageSettings | None:
        """What is reported by OpenLineage; None if nothing is."""
        if self.openlineage_url is None:
            return None
        from models.observing.lineage.job import LineageJob
        from models.observing.lineage.settings import LineageSettings

        read = (*(one.topic for one in self.records_topics()), self.models_topic)
        job = LineageJob(self.group, self.bootstrap_servers, read, self.written_topics())
        settings = LineageSettings(self.openlineage_url, job)
        settings.check()
        return settings

    def drift(self) -> DriftSettings | None:
        """How the deployment watches for drift; None if it does not."""
        if self.drift_topic is None:
            return None
        from models.observing.drift.policy import DriftPolicy
        from models.observing.drift.settings import DriftSettings

        policy = DriftPolicy(self.drift_window, self.drift_min_records)
        return DriftSettings(self.kafka(), self.group, self.models_topic, self.drift_topic, policy)

    def dead_letters(self) -> DeadLetterTopic:
        """The topic of dead letters and their format; raises OptionsError when it needs a registry and has none."""
        from models.records.registry import RegistrySettings, registry_options
        from models.records.registry_framing import RegistryFraming
        from models.results.dead_letter import DeadLetterTopic

        if self.dead_letter_format == "avro":
            return DeadLetterTopic(self.dead_letter_topic)
        if self.schema_registry is None:
            raise OptionsError(f"missing: --schema-registry (--dead-letter-format {self.dead_letter_format} needs one)")
        named = registry_options(self.schema_registry, self.schema_registry_config)
        return DeadLetterTopic(self.dead_letter_topic, RegistryFraming(RegistrySettings.from_options(named)))

    def scoring(self) -> ScoringSettings:
        """The settings for scoring and for the messages it produces."""
        from models.serving.assembly import ScoringSettings

        cloud_events = self.result_headers == "cloud-events"
        return ScoringSettings(
            self.record_types(),
            self.results_topic,
            self.dead_letter_topic,
            self.result_key,
            cloud_events,
            self.shadow_topic,
            self.outliers == "on",
        )
