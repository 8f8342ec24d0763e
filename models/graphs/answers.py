"""The answers of steps: the outputs for the records that a step could answer, and how other steps access them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from models.columns.outputs import RecordOutputs, joined_outputs
from models.columns.scored import ScoredRecords
from models.errors import ScoringError
from models.tensors import Array

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Answer:
    """The answer of one step.

    Attributes:
      parts: parts of the records, without overlap; a part without outputs has the reason as its call's error.
    """

    parts: tuple[ScoredRecords, ...]

    @cached_property
    def rows(self) -> Rows:
        """The indices of the records that have outputs, ascending."""
        return np.sort(np.concatenate([np.zeros(0, np.int64), *(group.rows for group in self.groups)]))

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """The records that have outputs, grouped by the form of their outputs."""
        forms: dict[object, list[ScoredRecords]] = {}
        for part in self.parts:
            if part.outputs is not None and len(part.rows):
                forms.setdefault(_form(part.outputs), []).append(part)
        return tuple(map(_group, forms.values()))

    def of(self, rows: Rows) -> RecordOutputs:
        """The outputs of some of `self.rows`, all in one group; raises ScoringError if there are none."""
        for group in self.groups:
            if len(rows) == len(group.rows) and np.array_equal(rows, group.rows):
                return group.outputs
            places = np.minimum(np.searchsorted(group.rows, rows), len(group.rows) - 1)
            if np.array_equal(group.rows[places], rows):
                return group.outputs.take(places)
        raise ScoringError("there are no outputs")


@dataclass(frozen=True)
class Group:
    """Records, ascending, and their outputs, which have the same form: names, types and shapes."""

    rows: Rows
    outputs: RecordOutputs


def _form(outputs: RecordOutputs) -> object:
    arrays = sorted((name, array.dtype.str, array.shape[1:]) for name, array in outputs.arrays.items())
    return outputs.bounds is None, tuple(arrays)


def _group(parts: Sequence[ScoredRecords]) -> Group:
    outputs = joined_outputs([part.outputs for part in parts if part.outputs is not None])
    if len(parts) == 1:
        return Group(parts[0].rows, outputs)
    rows = np.concatenate([part.rows for part in parts])
    order = np.argsort(rows)
    return Group(rows[order], outputs.take(order))


Answers = Mapping[str, Answer]
"""The answers of the steps that have run, by the name of the step."""


def answered_by_all(rows: Rows, answers: Answers, steps: Iterable[str]) -> Rows:
    """The records among `rows` that all of the steps have answered."""
    return reduce(lambda left, step: np.intersect1d(left, answers[step].rows, assume_unique=True), steps, rows)


def alike(rows: Rows, answers: Answers, steps: Iterable[str]) -> list[Rows]:
    """Groups of the records, in each of which the outputs of a step have one form; all steps must have answered them.

    A record is never computed together with records of another form, so its answer does not depend on the batch in
    which it arrives.
    """
    groups = [rows]
    for step in steps:
        forms = answers[step].groups
        if len(forms) > 1:
            groups = [np.intersect1d(group, form.rows, assume_unique=True) for group in groups for form in forms]
    return [group for group in groups if len(group)]


@dataclass(frozen=True)
class Chosen:
    """One output of one step.

    Attributes:
      reference: STEP.OUTPUT.
      array: the values; the first dimension has one row per record, or the rows that `bounds` defines.
      bounds: as in `RecordOutputs`.
    """

    reference: str
    array: Array
    bounds: Rows | None


def choose(reference: str, answers: Answers, rows: Rows) -> Chosen:
    """The output that STEP.OUTPUT names, or STEP if it has only one output.

    Raises:
      ScoringError: the output does not exist, or STEP has several.
    """
    step, _, name = reference.partition(".")
    outputs = answers[step].of(rows)
    known = ", ".join(sorted(outputs.arrays))
    if not name and len(outputs.arrays) != 1:
        raise ScoringError(f"step {step!r} has the outputs {known}; refer to one as {step}.OUTPUT")
    name = name or next(iter(outputs.arrays))
    if name not in outputs.arrays:
        raise ScoringError(f"step {step!r} has no output {name!r}; it has {known}")
    return Chosen(f"{step}.{name}", outputs.arrays[name], outputs.bounds)


def choose_each(references: Sequence[str], answers: Answers, rows: Rows) -> list[Chosen]:
    """The outputs that the references name; raises as `choose` does."""
    return [choose(reference, answers, rows) for reference in references]


def with_outputs(columns: pa.RecordBatch, chosen: Iterable[Chosen]) -> pa.RecordBatch:
    """The columns of records, and a column for each output, named by its reference: all that can fill inputs."""
    fields = dict(zip(columns.schema.names, columns.columns, strict=True))
    schema = {field.name: field for field in columns.schema}
    for one in chosen:
        fields[one.reference] = column_of(one.array, one.bounds)
        schema[one.reference] = pa.field(one.reference, fields[one.reference].type)
    return pa.RecordBatch.from_arrays(list(fields.values()), schema=pa.schema(schema.values()))


def with_steps(columns: pa.RecordBatch, answers: Answers, steps: Iterable[str], rows: Rows) -> pa.RecordBatch:
    """The columns of records, and a column for each step, whose fields are its outputs: all that conditions can read.

    A step hides a field of the same name.
    """
    fields = dict(zip(columns.schema.names, columns.columns, strict=True))
    for step in steps:
        outputs = answers[step].of(rows)
        columns_of_step = [column_of(array, outputs.bounds) for array in outputs.arrays.values()]
        fields[step] = pa.StructArray.from_arrays(columns_of_step, names=list(outputs.arrays))
    return pa.RecordBatch.from_pydict(fields)


def column_of(array: Array, bounds: Rows | None = None) -> pa.Array:
    """An output as a column: one value per record, or a list of values in row-major order.

    >>> column_of(np.array([[1.0], [2.0]])).to_pylist(), column_of(np.array([[1, 2], [3, 4]])).to_pylist()
    ([1.0, 2.0], [[1, 2], [3, 4]])
    """
    width = int(np.prod(array.shape[1:]))
    values = _values(array.reshape(-1))
    if bounds is None and width == 1:
        return values
    starts = np.arange(len(array) + 1) if bounds is None else bounds
    return pa.ListArray.from_arrays(pa.array(starts * width, pa.int32()), values)


def _values(flat: Array) -> pa.Array:
    if flat.dtype.kind == "f":
        return pa.array(flat.astype(np.float64 if flat.dtype.itemsize >= 8 else np.float32, copy=False))
    if flat.dtype.kind not in "OSU":
        return pa.array(flat)
    items = [item if isinstance(item, bytes) else str(item).encode() for item in flat.tolist()]
    found = pa.array(items, pa.binary())
    try:
        return found.cast(pa.string())
    except pa.ArrowInvalid:  # not UTF-8
        return found
