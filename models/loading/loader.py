"""Loads one version of a model: fetches and opens it, plans its inputs, warms it up, and makes the admission checks."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import pyarrow as pa

from models.artifacts.fetching import Opener
from models.artifacts.pickles import NO_PICKLES, AllowedPickles
from models.columns.mapping import Fields, InputMapping, plan_inputs, to_model_inputs
from models.columns.outliers import UsualRanges
from models.columns.outputs import RecordOutputs, no_outputs, select_outputs
from models.columns.scored import ModelIdentity
from models.errors import MappingError, ModelLoadError, ScorerOptionError, ServingError
from models.loading.admission import ADMISSION_OPTIONS, Admission
from models.loading.memory import CountingOpener, LoadGate, resident_bytes
from models.model_topic.descriptor import ModelDescriptor
from models.model_topic.published import PublishedVersion
from models.observing.instruments import STAGE_DURATION
from models.observing.observer import NO_OBSERVER, Meter
from models.observing.tracing import Attributes, span
from models.records.codecs.base import RecordCodec, sample_of
from models.scorers import load_scorer
from models.scorers.base import ModelSource, Scorer, Scores
from models.tensors import Array, Signature, sample_inputs

_LOGGER = logging.getLogger(__name__)

WARM_UP_OPTION = "warmup"
LARGEST_BATCH_OPTION = "max-batch"
INPUTS_FROM_OPTION = "inputs-from"
INPUTS_FROM_STEPS = "steps"


class LoadedModel:
    """A model that can score records.

    Args:
      version: the published version.
      scorer: the model in its engine; `close` closes it.
      mappings: how the model's inputs are filled, by record codec; mappings of other codecs are planned at first use.
      memory: the bytes of memory that it takes, if they were measured.
      published_bytes: the bytes of the published model; 0 for a model on a server.
      meter: measures the calls of a model on a server.
      usual: the ranges in which its features usually are; None if outliers are not looked for.
    """

    def __init__(
        self,
        version: PublishedVersion,
        scorer: Scorer,
        mappings: Mapping[RecordCodec, InputMapping] | None = None,
        memory: int = 0,
        published_bytes: int = 0,
        meter: Meter = NO_OBSERVER,
        usual: UsualRanges | None = None,
    ) -> None:
        self.version = version
        self.usual = usual
        self.scorer = scorer
        self.memory = memory
        self.published_bytes = published_bytes
        self._mappings = dict(mappings or {})
        self._meter = meter

    @property
    def largest_batch(self) -> int | None:
        """The maximum number of records in one call; None for no limit."""
        found = self.version.descriptor.options.get(LARGEST_BATCH_OPTION)
        return None if found is None else int(found)

    def score(self, codec: RecordCodec, columns: pa.RecordBatch) -> tuple[RecordOutputs, int | None]:
        """Scores records in one call.

        Args:
          codec: the codec that decoded the records.
          columns: the decoded records, one row each.

        Returns:
          The outputs of the records, and the version that the server of a remote model named, if it did.

        Raises:
          MappingError: records of that codec cannot fill the model's inputs.
          FieldValueError: a value of a record does not fit its input.
          ScoringError: the call of the model fails.
        """
        return self.score_mapped(self._mapping(codec), columns)

    def score_mapped(self, mapping: InputMapping, columns: pa.RecordBatch) -> tuple[RecordOutputs, int | None]:
        """Like `score`, but with a mapping that `plan` returned."""
        descriptor = self.version.descriptor
        inputs = to_model_inputs(mapping, columns)
        if inputs.rows == 0:
            signature = self.scorer.signature
            return no_outputs(signature, descriptor.outputs, columns.num_rows, mapping.exploded), None
        with span(f"call {descriptor.model_name}", "internal", self._attributes(inputs.rows)):
            scores = self._call(inputs.arrays)
        return select_outputs(scores.outputs, descriptor.outputs, inputs.rows, inputs.bounds), scores.model_version

    def _call(self, inputs: Mapping[str, Array]) -> Scores:
        if self.scorer.digest is not None:
            return self.scorer.score(inputs)
        began = time.perf_counter()
        try:
            return self.scorer.score(inputs)
        finally:
            descriptor = self.version.descriptor
            labels = ("remote_call", descriptor.model_name, str(descriptor.model_version))
            self._meter.measure(STAGE_DURATION, time.perf_counter() - began, labels)

    def _attributes(self, rows: int) -> Attributes:
        """What the span of a call says of it."""
        descriptor = self.version.descriptor
        return {
            "beam_serving.model.name": descriptor.model_name,
            "beam_serving.model.version": str(descriptor.model_version),
            "beam_serving.model.type": descriptor.model_type,
            "beam_serving.call.rows": rows,
        }

    def plan(self, inputs: Mapping[str, Sequence[str]], fields: Fields) -> InputMapping:
        """Plans how these columns fill the model's inputs; raises MappingError if they cannot.

        Args:
          inputs: the columns for inputs, which take precedence over the descriptor's mapping.
          fields: the columns.
        """
        return plan_inputs(self.scorer.signature, {**self.version.descriptor.inputs, **inputs}, fields)

    def planned(self, codec: RecordCodec) -> InputMapping | None:
        """How records of a codec become the model's inputs; None before the first call, and if they cannot."""
        return self._mappings.get(codec)

    def _mapping(self, codec: RecordCodec) -> InputMapping:
        if codec not in self._mappings:
            self._mappings[codec] = plan_inputs(self.scorer.signature, self.version.descriptor.inputs, codec)
        return self._mappings[codec]

    def identity(self, answered_version: int | None) -> ModelIdentity:
        """The identity of this model in results; a remote model has the version that its server named."""
        descriptor = self.version.descriptor
        in_process = self.scorer.digest is not None
        return ModelIdentity(
            descriptor.model_name,
            descriptor.model_version if in_process else answered_version,
            descriptor.model_type,
            self.scorer.address,
            self.scorer.digest,
            self.version.offset,
        )

    def close(self) -> None:
        """Releases the model in its engine; an error is only logged, since the model is already out of use."""
        _close(self.scorer, self.version.label)


class ModelLoader:
    """Loads versions for the record types of a deployment. Thread-safe if the opener is.

    Args:
      opener: reads model locations.
      fetch: returns the bytes of an inline model, given the offset of its message in the models topic.
      codecs: the codecs of the records that the models will score.
      measured: whether models are loaded one at a time, so that the memory that each of them takes can be measured.
      pickles: the models that may be loaded although loading them runs code.
      publishing: whether to refuse a model that answers zeros with NaN or infinity. Workers do not refuse it, because
        there may be good reasons why it was published and serves.
      meter: measures the calls of models on servers.
      outliers: whether models with a baseline score outliers.
    """

    def __init__(
        self,
        opener: Opener,
        fetch: Callable[[int], bytes],
        codecs: Sequence[RecordCodec],
        measured: bool = False,
        publishing: bool = False,
        pickles: AllowedPickles = NO_PICKLES,
        meter: Meter = NO_OBSERVER,
        outliers: bool = False,
    ) -> None:
        self._outliers = outliers
        self._opener = opener
        self._fetch = fetch
        self._codecs = codecs
        self._measured = measured
        self._publishing = publishing
        self._pickles = pickles
        self._meter = meter
        self._gate = LoadGate()

    def load(self, version: PublishedVersion) -> LoadedModel:
        """Loads a version and warms it up; the caller closes the model.

        Raises:
          AdmissionError: the model does not pass the checks of `models.loading.admission`; it is closed again.
          ServingError: the model cannot be fetched, opened, mapped or warmed up; its resources are released.
        """
        check_largest_batch(version.descriptor)
        check_inputs_from(version.descriptor)
        admission = Admission.of(version.descriptor.options)
        with self._gate.passed(alone=self._measured or admission.largest_memory is not None):
            started = time.monotonic()
            model = self._load(version, admission)
        _LOGGER.info("model %s loaded in %.0f ms", version.label, (time.monotonic() - started) * 1000)
        return model

    def _load(self, version: PublishedVersion, admission: Admission) -> LoadedModel:
        before, started = resident_bytes(), time.monotonic()
        descriptor, opener = version.descriptor, CountingOpener(self._opener, admission.check_bytes)
        content = self._fetch(version.offset) if version.inline else None
        admission.check_bytes(len(content or b""))
        warmed = descriptor.options.get(WARM_UP_OPTION, "true") != "false"
        scorer = load_scorer(ModelSource(for_scorer(descriptor), content, opener, warmed, self._pickles))
        try:
            mappings = self._plan(scorer.signature, descriptor)
            if warmed:
                outputs = warm_up(scorer, whole_record_samples(mappings))
                if self._publishing:
                    admission.check_finite(outputs, "warm-up with zeros")
            published_bytes = len(content or b"") + opener.downloaded
            usual = self._usual(version)
            model = LoadedModel(version, scorer, mappings, 0, published_bytes, self._meter, usual)
            if descriptor.golden is not None:
                admission.check_golden(descriptor.golden, list(mappings), lambda *records: model.score(*records)[0])
            # A model may reuse memory that another one has freed without any growth, hence the published model's size.
            model.memory = max(published_bytes, resident_bytes() - before)
            admission.check_memory(model.memory)
            admission.check_seconds(time.monotonic() - started)
        except BaseException:
            _close(scorer, version.label)
            raise
        return model

    def _usual(self, version: PublishedVersion) -> UsualRanges | None:
        if not self._outliers or version.descriptor.baseline is None:
            return None
        from models.observing.drift.usual_ranges import usual_ranges

        try:
            return usual_ranges(version.descriptor.baseline)
        except ValueError as error:
            _LOGGER.warning("model %s: no outliers are looked for: its baseline is malformed: %s", version.label, error)
            return None

    def _plan(self, signature: Signature, descriptor: ModelDescriptor) -> dict[RecordCodec, InputMapping]:
        """The input mapping for each record type; raises MappingError if no record type can fill the inputs."""
        if descriptor.options.get(INPUTS_FROM_OPTION) == INPUTS_FROM_STEPS:
            return {}
        mappings = {}
        errors = []
        for codec in self._codecs:
            try:
                mappings[codec] = plan_inputs(signature, descriptor.inputs, codec)
            except MappingError as error:
                errors.append(error)
        if errors and not mappings:
            raise errors[0]
        return mappings


def _close(scorer: Scorer, label: str) -> None:
    """Closes a scorer; an error is only logged, so that it does not hide the one that caused the close."""
    try:
        scorer.close()
    except Exception:
        _LOGGER.exception("model %s could not be closed", label)


def for_scorer(descriptor: ModelDescriptor) -> ModelDescriptor:
    """The descriptor without the options that the loader handles itself, which scorers would reject as unknown."""
    ours = (WARM_UP_OPTION, LARGEST_BATCH_OPTION, INPUTS_FROM_OPTION, *ADMISSION_OPTIONS)
    options = {name: value for name, value in descriptor.options.items() if name not in ours}
    return replace(descriptor, options=options)


def check_largest_batch(descriptor: ModelDescriptor) -> None:
    """Raises ScorerOptionError unless the option that limits batches is absent or a whole number of at least 1."""
    found = descriptor.options.get(LARGEST_BATCH_OPTION)
    if found is not None and not (found.isascii() and found.isdigit() and 0 < int(found) < 2**31):
        raise ScorerOptionError(f"option {LARGEST_BATCH_OPTION}={found!r} is not a number of records of at least 1")


def check_inputs_from(descriptor: ModelDescriptor) -> None:
    """Raises ScorerOptionError unless the option is absent or says that the steps of a graph fill the inputs."""
    found = descriptor.options.get(INPUTS_FROM_OPTION, INPUTS_FROM_STEPS)
    if found != INPUTS_FROM_STEPS:
        raise ScorerOptionError(f"option {INPUTS_FROM_OPTION}={found!r} is not {INPUTS_FROM_STEPS!r}")


def whole_record_samples(mappings: Mapping[RecordCodec, InputMapping]) -> dict[str, bytes]:
    """A message that follows the schema, for each input that takes whole messages."""
    samples = {}
    for codec, mapping in mappings.items():
        for column in mapping.columns:
            sample = sample_of(codec.fields.field(column.fields[0]))
            if sample is not None:
                samples[column.spec.name] = sample
    return samples


def warm_up(scorer: Scorer, samples: Mapping[str, bytes] | None = None) -> Mapping[str, Array]:
    """Scores one row of zeros or empty strings, so that the slow first call does not delay the first record.

    Returns the outputs by the model's names.

    Args:
      scorer: the model in its engine.
      samples: values for inputs that reject an empty text.

    Raises:
      ModelLoadError: the model cannot score the row; the option warmup=false skips the call.
    """
    try:
        return scorer.score(sample_inputs(scorer.signature, samples)).outputs
    except ServingError as error:
        raise ModelLoadError(f"warm-up failed: {error} (option {WARM_UP_OPTION}=false skips it)") from error
