"""Models that are plain functions, and records for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from models.errors import ModelLoadError
from models.explaining.explainer import Explainer, ExplainerSettings
from models.loading.loader import LoadedModel
from models.model_topic.descriptor import ModelDescriptor
from models.model_topic.published import PublishedVersion
from models.scorers.base import Scores
from models.tensors import Array, Signature, TensorSpec
from tests.models.fakes import NoOpener

Function = Callable[..., Mapping[str, Any]]


class FunctionScorer:
    """Calls a function of the inputs, and remembers the sizes of the calls."""

    def __init__(self, function: Function, inputs: Mapping[str, TensorSpec]) -> None:
        self.signature = Signature("serving_default", inputs)
        self.digest: str | None = "0" * 64
        self.address = "nowhere"
        self.batch_deadline: float | None = None
        self.sizes: list[int] = []
        self._function = function

    def score(self, inputs: Mapping[str, Array]) -> Scores:
        self.sizes.append(len(next(iter(inputs.values()))))
        return Scores({name: np.asarray(values) for name, values in self._function(**inputs).items()})

    def close(self) -> None:
        """Nothing is left to do."""


def spec(name: str, dtype: Any = np.float64, *sizes: int | None) -> dict[str, TensorSpec]:
    """An input, by its name."""
    return {name: TensorSpec(name, np.dtype(dtype), (None, *sizes))}


def function_model(function: Function, specs: Mapping[str, TensorSpec], **described: Any) -> LoadedModel:
    """A loaded model that calls a function."""
    descriptor = ModelDescriptor("m", "fake", 1, model_source_location="nowhere", **described)
    return LoadedModel(PublishedVersion(descriptor, 10, False), FunctionScorer(function, specs))


def scorer_of(model: LoadedModel) -> FunctionScorer:
    """The scorer of a model from `function_model`."""
    assert isinstance(model.scorer, FunctionScorer)
    return model.scorer


def nothing_inline(offset: int) -> bytes:
    """Fetches nothing."""
    raise ModelLoadError(f"nothing is at offset {offset}")


def explainer(**settings: Any) -> Explainer:
    """An explainer that opens nothing for gradients."""
    return Explainer(NoOpener(), nothing_inline, ExplainerSettings(**{"seed": 0, **settings}))
