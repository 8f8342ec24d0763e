"""A contest: one model as this project serves it, and as its own framework does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from models.artifacts.digest import digest_of_path
from models.artifacts.pickles import AllowedPickles
from models.loading.loader import LoadedModel, ModelLoader
from models.model_topic.descriptor import ModelDescriptor
from models.model_topic.published import PublishedVersion
from models.tensors import Array
from transforms.file_systems import BeamOpener

FEATURES = 20
NAMES = tuple(f"x{place}" for place in range(FEATURES))
_MODEL = "contest"


@dataclass(frozen=True)
class RecordColumns:
    """The fields of decoded records, as the mapping gets them from a codec."""

    fields: pa.Schema
    name: str = "benchmark"


@dataclass(frozen=True)
class Contest:
    """A saved model, and the way its own framework scores it.

    Attributes:
      path: the path of the saved model, or the address of its server.
      bare: scores the result of `ready`, and returns the argument of `answer`.
      output: our output that must be equal to the framework's answer.
      inputs: the fields that fill each input of the model, as in descriptors.
      options: the options of the descriptor.
      columns: returns the given number of records, as a codec decodes them.
      ready: returns the same records in the form that the framework takes.
      answer: converts the result of `bare` to an array.
      tolerance: the largest difference between the two answers.
      warm_seconds: the processor time in seconds that each of the two takes before it is measured.
      turn_seconds: the processor time in seconds for which a turn repeats a call of each; it makes at least one call.
    """

    path: str
    bare: Callable[[Any], Any]
    output: str
    inputs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)
    columns: Callable[[int], pa.RecordBatch] = lambda rows: columns_of(matrix_of(rows))
    ready: Callable[[int], Any] = lambda rows: matrix_of(rows)
    answer: Callable[[Any], Array] = np.asarray
    tolerance: float = 1e-5
    warm_seconds: float = 0.2
    turn_seconds: float = 0.05


def matrix_of(rows: int) -> Array:
    """Rows of features, float64 [rows, FEATURES]; the first rows are the same for every count."""
    return np.random.default_rng(7).normal(size=(rows, FEATURES))


def float_matrix_of(rows: int) -> Array:
    """The same rows as float32."""
    return matrix_of(rows).astype(np.float32)


def columns_of(matrix: Array) -> pa.RecordBatch:
    """The rows as records with a field of type double for each feature."""
    return pa.RecordBatch.from_arrays([pa.array(column.copy()) for column in matrix.T], names=NAMES)


def load_contest(model_type: str, contest: Contest) -> LoadedModel:
    """Loads the model as a worker does, and warms it up."""
    remote = "://" in contest.path
    descriptor = ModelDescriptor(
        _MODEL,
        model_type,
        1,
        model_source_location=contest.path,
        inputs=contest.inputs,
        options=contest.options,
        digest=None if remote else digest_of_path(Path(contest.path)),
    )
    loader = ModelLoader(BeamOpener(), lambda _: b"", [], pickles=AllowedPickles(names=frozenset({_MODEL})))
    return loader.load(PublishedVersion(descriptor, 0, False))


def scoring_of(model: LoadedModel, contest: Contest, columns: pa.RecordBatch) -> Callable[[], Mapping[str, Array]]:
    """A function that fills the model's inputs from the columns of records, and scores them."""
    mapping = model.plan(contest.inputs, RecordColumns(columns.schema))
    return lambda: model.score_mapped(mapping, columns)[0].arrays


def check_same_answers(model: LoadedModel, contest: Contest, rows: int = 64) -> None:
    """Raises ValueError unless both give the same answers to a few records."""
    ours = scoring_of(model, contest, contest.columns(rows))()[contest.output]
    theirs = contest.answer(contest.bare(contest.ready(rows)))
    if not np.allclose(ours, theirs.reshape(ours.shape), rtol=contest.tolerance, atol=contest.tolerance):
        raise ValueError(f"{contest.path}: the output {contest.output!r} differs from the framework's answer")
