"""The instruments: everything that is measured, with stable names and units.

Names and units follow OpenTelemetry's conventions (a dotted name, a unit of UCUM). `Instrument.prometheus_name` is the
name by Prometheus' conventions, with the unit as a suffix and `_total` for counters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

InstrumentKind = Literal["counter", "gauge", "histogram"]
Stage = Literal["queue", "decode", "score", "remote_call", "encode", "deliver"]

_UNIT_SUFFIXES = {"s": "_seconds", "By": "_bytes"}


@dataclass(frozen=True)
class Instrument:
    """One thing that is measured.

    Attributes:
      name: the name by OpenTelemetry's conventions.
      kind: a counter only grows, a gauge has the last value, a histogram counts values by size.
      unit: s, By, or what is counted in braces, such as {record}.
      description: a sentence for people.
      labels: the names of the labels, in the order in which their values are given.
      limits: the upper limits of a histogram's buckets, ascending, each inclusive; values above the last one have a
        bucket of their own.
    """

    name: str
    kind: InstrumentKind
    unit: str
    description: str
    labels: tuple[str, ...] = ()
    limits: tuple[float, ...] = ()

    @property
    def prometheus_name(self) -> str:
        """The name in Prometheus.

        >>> RECORDS.prometheus_name, STAGE_DURATION.prometheus_name
        ('beam_serving_records_total', 'beam_serving_stage_duration_seconds')
        """
        total = "_total" if self.kind == "counter" else ""
        return self.name.replace(".", "_") + _UNIT_SUFFIXES.get(self.unit, "") + total


# From half a millisecond, which a small batch takes, to a minute, for which records may wait for a model.
_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_SIZES = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0, 2_000.0, 5_000.0, 10_000.0)
_MODEL = ("model", "version")
_ARM = ("data_type", *_MODEL, "arm", "role")

RECORDS = Instrument("beam_serving.records", "counter", "{record}", "Records that arrived at the scoring.", ("topic",))
RESULTS = Instrument("beam_serving.results", "counter", "{result}", "Results with outputs of a model.", _ARM)
ERRORS = Instrument(
    "beam_serving.errors",
    "counter",
    "{result}",
    "Results without outputs, by the kind of error; model and version are empty if no model was called.",
    (*_ARM, "kind"),
)
DEAD_LETTERS = Instrument(
    "beam_serving.dead_letters",
    "counter",
    "{message}",
    "Messages that became dead letters: records that cannot be decoded, results that cannot be encoded or are too "
    "large for their topic, and malformed descriptors.",
    ("topic", "kind"),
)
BATCH_SIZE = Instrument(
    "beam_serving.batch.size", "histogram", "{record}", "Records in a batch of the source.", ("topic",), _SIZES
)
CALL_SIZE = Instrument(
    "beam_serving.call.size", "histogram", "{record}", "Records in a call of a model.", _MODEL, _SIZES
)
STAGE_DURATION = Instrument(
    "beam_serving.stage.duration",
    "histogram",
    "s",
    "Duration of a stage for one batch: queue (from the source to the scoring), decode, score (one call of a model or "
    "graph), remote_call (the part of it that a server took), encode, deliver (until the broker acknowledged).",
    ("stage", *_MODEL),
    _SECONDS,
)
END_TO_END = Instrument(
    "beam_serving.end_to_end.duration",
    "histogram",
    "s",
    "From the Kafka timestamp of a record to its result at the producer; one value for each record.",
    _MODEL,
    _SECONDS,
)
LOADS = Instrument(
    "beam_serving.model.loads",
    "counter",
    "{load}",
    "Loads of models, by outcome: loaded or failed.",
    (*_MODEL, "outcome"),
)
LOAD_DURATION = Instrument(
    "beam_serving.model.load.duration", "histogram", "s", "Duration of a successful load.", _MODEL, _SECONDS
)
UPDATE_LAG = Instrument(
    "beam_serving.model.update.lag",
    "histogram",
    "s",
    "From the publication of a version, by its publisher's clock, until this worker can answer with it.",
    _MODEL,
    _SECONDS,
)
MODEL_SHARE = Instrument(
    "beam_serving.model.share",
    "gauge",
    "1",
    "The share of a data type's records that a loaded version gets, as arms of routes have it.",
    _ARM,
)
MODEL_MEMORY = Instrument(
    "beam_serving.model.memory", "gauge", "By", "Memory that a loaded model takes, if it was measured.", _MODEL
)
MODELS_WAITING = Instrument(
    "beam_serving.models.waiting", "gauge", "{model}", "Versions that this worker should serve and has not loaded."
)
DESCRIPTORS = Instrument(
    "beam_serving.descriptors",
    "counter",
    "{message}",
    "Messages of the models topic, by outcome: accepted or rejected.",
    ("outcome",),
)
FOLLOWER_STOPS = Instrument(
    "beam_serving.follower.stops", "counter", "{stop}", "Times that a worker stopped following the models topic."
)
MESSAGES = Instrument(
    "beam_serving.messages", "counter", "{message}", "Messages that were handed to the producer of the sink."
)
EVENTS_DROPPED = Instrument(
    "beam_serving.events.dropped",
    "counter",
    "{message}",
    "Status events that were too large for their topic.",
)
EXPLANATIONS = Instrument(
    "beam_serving.explanations",
    "counter",
    "{record}",
    "Records that were sampled for an explanation, by outcome: explained, failed, or skipped, because too many waited "
    "or the model was no longer loaded.",
    (*_MODEL, "outcome"),
)
EXPLANATION_DURATION = Instrument(
    "beam_serving.explanation.duration", "histogram", "s", "Duration of explaining one answer.", _MODEL, _SECONDS
)
CONSUMER_LAG = Instrument(
    "beam_serving.consumer.lag",
    "gauge",
    "{record}",
    "Offsets of a partition between the last record read and the end; only the worker that reads it reports it.",
    ("topic", "partition"),
)
PAYLOADS = Instrument(
    "beam_serving.payloads",
    "counter",
    "{payload}",
    "Sampled requests with their answers, by outcome: filed (in a complete file), sent (handed to the producer), "
    "dropped (too many were waiting), or failed (the file system or the producer refused them).",
    ("outcome",),
)

INSTRUMENTS = (
    RECORDS,
    RESULTS,
    ERRORS,
    DEAD_LETTERS,
    BATCH_SIZE,
    CALL_SIZE,
    STAGE_DURATION,
    END_TO_END,
    LOADS,
    LOAD_DURATION,
    UPDATE_LAG,
    MODEL_SHARE,
    MODEL_MEMORY,
    MODELS_WAITING,
    DESCRIPTORS,
    FOLLOWER_STOPS,
    MESSAGES,
    EVENTS_DROPPED,
    EXPLANATIONS,
    EXPLANATION_DURATION,
    CONSUMER_LAG,
    PAYLOADS,
)
