"""Explains one record's answer, in the way that suits the model."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa

from models.artifacts.fetching import Opener
from models.columns.mapping import InputMapping, to_model_inputs
from models.errors import ExplanationError, GradientsError, ServingError
from models.explaining.attribution import Attributions, Explained
from models.explaining.explained_row import Feature, Rows, background_rows, features_of, nothing_like
from models.explaining.model_calls import ModelCalls, explained_number
from models.explaining.permutation import permuted
from models.loading.loader import LoadedModel, whole_record_samples
from models.model_topic.published import Identity
from models.records.codecs.base import RecordCodec
from models.scorers.tensorflow.gradients import MODEL_TYPE, SavedModelGradients

_LOGGER = logging.getLogger(__name__)

MethodChoice = Literal["auto", "integrated-gradients", "permutation"]

_STEPS = (32, 64, 128, 256)
# Each is a second copy of its model.
_OPENED = 2


@dataclass(frozen=True)
class ExplainerSettings:
    """How answers are explained.

    Attributes:
      output: the name of the output to explain; None for the first one of floating-point numbers.
      method: "auto" takes integrated gradients for SavedModels that have them, and permutations for all other models.
      seed: as in `models.explaining.permutation.permuted`.
      background: the largest number of background records.
    """

    output: str | None = None
    method: MethodChoice = "auto"
    seed: int | None = None
    background: int = 16


class Explainer:
    """Explains answers of loaded models. Used by one thread at a time; the caller closes it.

    SavedModels stay open for gradients until others are explained.

    Args:
      opener: reads the locations of models.
      fetch: returns the bytes of an inline model, given the offset of its message in the models topic.
      settings: how answers are explained; None means the defaults.
    """

    def __init__(
        self, opener: Opener, fetch: Callable[[int], bytes], settings: ExplainerSettings | None = None
    ) -> None:
        self._opener = opener
        self._fetch = fetch
        self._settings = settings or ExplainerSettings()
        # None for a model that cannot be opened for gradients.
        self._opened: OrderedDict[Identity, SavedModelGradients | None] = OrderedDict()

    def explain(
        self, model: LoadedModel, codec: RecordCodec, record: pa.RecordBatch, background: pa.RecordBatch | None = None
    ) -> Attributions:
        """Explains the answer to one record.

        Args:
          model: the model that answered, which must stay open.
          codec: the codec that decoded the record.
          record: the columns of the record, one row.
          background: the columns of records that stand in for it; None for zeros and empty texts.

        Raises:
          ExplanationError: there is nothing to explain, or not in the wanted way.
          MissingExtraError: the model needs permutations, and shap is not installed.
          ServingError: the record does not fit the model, or the model fails.
        """
        mapping = model.plan({}, codec)
        inputs = to_model_inputs(mapping, record)
        if not inputs.rows:
            raise ExplanationError("the record has no items, so the model was not called")
        calls = ModelCalls(model)
        explained = explained_number(calls.outputs(inputs.arrays), self._settings.output, mapping.exploded)
        place = explained.item or 0
        row = {name: values[place : place + 1] for name, values in inputs.arrays.items()}
        case = _Case(calls, explained, features_of(mapping, row, explained.item), row)
        instead = background_rows(mapping, background, row, self._settings.background)
        records = 0 if instead is None else len(next(iter(instead.values())))
        return self._attributions(case, instead or nothing_like(row, _samples(codec, mapping)), records)

    def _attributions(self, case: _Case, background: Rows, records: int) -> Attributions:
        method = self._settings.method
        if method != "permutation":
            try:
                found = self._by_gradients(case, background, records)
                if found.complete or method == "integrated-gradients":
                    return found
                _LOGGER.debug("gradients leave %g unexplained", found.unexplained)
            except GradientsError as error:
                if method == "integrated-gradients":
                    raise
                _LOGGER.debug("permutations instead of gradients: %s", error)
        return permuted(case.calls, case.explained, case.features, case.row, background, records, self._settings.seed)

    def _by_gradients(self, case: _Case, background: Rows, records: int) -> Attributions:
        model, row, explained = case.calls.model, case.row, case.explained
        gradients = self._gradients_of(model)
        baseline = {
            name: background[name].mean(axis=0, keepdims=True, dtype=np.float64).astype(values.dtype)
            if np.issubdtype(values.dtype, np.floating)
            else values
            for name, values in row.items()
        }
        both = {name: np.concatenate([baseline[name], row[name]]) for name in row}
        base, prediction = case.calls.numbers(both, explained).tolist()
        output = model.version.descriptor.outputs.get(explained.output, explained.output)
        for steps in _STEPS:
            shares = gradients.integrated(row, baseline, output, explained.component, steps)
            case.calls.count_copy(steps)
            attributions = Attributions(
                "integrated-gradients",
                explained,
                base,
                prediction,
                records,
                tuple(one.attributed(row, _share(one, shares)) for one in case.features),
                case.calls.calls,
                case.calls.rows,
            )
            if attributions.complete:
                break
        return attributions

    def _gradients_of(self, model: LoadedModel) -> SavedModelGradients:
        """The model, opened for gradients; raises GradientsError if it cannot be."""
        version = model.version
        if version.descriptor.model_type != MODEL_TYPE:
            raise GradientsError(f"only models of type {MODEL_TYPE} have gradients")
        key = version.identity
        if key not in self._opened:
            while len(self._opened) >= _OPENED:
                _, oldest = self._opened.popitem(last=False)
                if oldest is not None:
                    oldest.close()
            self._opened[key] = self._open(model)
        self._opened.move_to_end(key)
        found = self._opened[key]
        if found is None:
            raise GradientsError(f"model {version.label} could not be opened for gradients")
        return found

    def _open(self, model: LoadedModel) -> SavedModelGradients | None:
        version = model.version
        try:
            content = self._fetch(version.offset) if version.inline else None
            return SavedModelGradients(version.descriptor, model.scorer.signature.name, content, self._opener)
        except ServingError as error:
            _LOGGER.warning("model %s is explained by permutations: %s", version.label, error)
            return None

    def close(self) -> None:
        """Closes the models that are open for gradients."""
        for one in self._opened.values():
            if one is not None:
                one.close()
        self._opened.clear()


@dataclass(frozen=True)
class _Case:
    """An answer to explain: the calls of its model, the number, and the features of the row."""

    calls: ModelCalls
    explained: Explained
    features: list[Feature]
    row: Rows


def _share(feature: Feature, shares: Mapping[str, np.ndarray[tuple[int, ...], np.dtype[np.float64]]]) -> float:
    """The contribution of a feature; 0 for an input without gradients, which keeps its value."""
    found = shares.get(feature.input)
    if found is None:
        return 0.0
    return float(found.sum() if feature.element is None else found[feature.element])


def _samples(codec: RecordCodec, mapping: InputMapping) -> dict[str, bytes]:
    return whole_record_samples({codec: mapping})
