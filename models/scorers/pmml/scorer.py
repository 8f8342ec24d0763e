"""modelType `pmml`: a model in PMML 4, run in this process by our own evaluator.

The model is a .pmml or .xml file. It has no options. Its inputs are the active fields of the mining schema: texts, or
float64 (float32 for fields of the type float), where NaN and the empty text are missing values. Its outputs are those
of its Output element; without one, they are the target and, for each class, probability_CLASS. A missing result is
NaN or an empty text.

A file whose results might be wrong is rejected: `models.scorers.pmml` accepts only the elements and attributes that it
implements.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from models.artifacts.fetching import FetchedModel
from models.artifacts.model_file import read_model_file
from models.errors import ScoringError
from models.scorers.base import ModelSource, Scorer
from models.scorers.called import CalledScorer, Callee
from models.scorers.in_process import ModelFolder, load_published
from models.scorers.pmml.columns import FLOAT, STRING, Column
from models.scorers.pmml.document import Document, read_document
from models.scorers.pmml.elements import MOST_BYTES
from models.scorers.pmml.fields import DataField
from models.tensors import Array, Signature, TensorSpec

IN_PROCESS = True
SUFFIXES = (".pmml", ".xml")
SIGNATURE = "predict"


def load(source: ModelSource) -> Scorer:
    """Fetches the model, checks its digest, and reads it.

    Raises:
      ScorerOptionError: there is an option.
      DigestMismatchError: the fetched model differs from the published one.
      ModelLoadError: the model is missing or corrupt, or contains something unsupported, which the message names.
    """
    return load_published(source, (), partial(_opened, source))


def prepare() -> None:
    """Does nothing: importing this module is enough."""


@dataclass(frozen=True)
class Evaluation:
    """A document that takes and returns the arrays of scorers."""

    document: Document

    def signature(self) -> Signature:
        """The inputs and outputs."""
        inputs = {field.name: _spec(field.name, field.data_type) for field in self.document.inputs}
        outputs = {field.name: _spec(field.name, field.data_type) for field in self.document.outputs}
        return Signature(SIGNATURE, inputs, outputs)

    def outputs(self, inputs: Mapping[str, Array], rows: int) -> dict[str, Array]:
        """Scores rows; raises ScoringError for a text that is not UTF-8, or a number that is not finite."""
        columns = {field.name: _column(field, inputs[field.name]) for field in self.document.inputs}
        found = self.document.score(columns, rows)
        return {field.name: _array(found[field.name], field.data_type) for field in self.document.outputs}


def _opened(source: ModelSource, fetched: FetchedModel, folder: ModelFolder) -> CalledScorer:
    content = read_model_file(fetched.content, Path(folder.name) / "model", SUFFIXES, MOST_BYTES)
    folder.cleanup()
    evaluation = Evaluation(read_document(content))
    return CalledScorer(source, fetched.digest, Callee(evaluation.outputs, evaluation.signature()))


def _spec(name: str, data_type: str) -> TensorSpec:
    dtypes = {STRING: np.dtype(object), FLOAT: np.dtype(np.float32)}
    return TensorSpec(name, dtypes.get(data_type, np.dtype(np.float64)), (None,))


def _column(field: DataField, values: Array) -> Column:
    if field.data_type != STRING:
        if values.dtype.kind not in "biuf":
            raise ScoringError(f"input {field.name!r} holds {values.dtype}, but numbers are expected")
        numbers = values.astype(np.float64)
        if np.isinf(numbers).any():
            raise ScoringError(f"input {field.name!r} holds a number that is not finite")
        return Column(numbers)
    texts = np.empty(len(values), object)
    # A column of texts cannot contain nulls, so the empty text is a missing value unless the file declares it.
    empty = "" if "" in (*field.valid, *field.missing, *field.invalid) else None
    try:
        texts[:] = [value.decode() or empty for value in values.tolist()]
    except (UnicodeDecodeError, AttributeError) as error:
        raise ScoringError(f"input {field.name!r} holds bytes that are not text in UTF-8: {error}") from error
    return Column(texts)


def _array(column: Column, data_type: str) -> Array:
    if not column.is_text:
        with np.errstate(over="ignore"):
            return column.values.astype(np.float32 if data_type == FLOAT else np.float64)
    texts = np.empty(len(column.values), object)
    texts[:] = [b"" if value is None else value.encode() for value in column.values.tolist()]
    return texts
