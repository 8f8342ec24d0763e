"""Transforms: functions that are installed on the workers as entry points, and that graphs refer to by name.

A package declares one in its metadata:

    [project.entry-points."beam_serving.transforms"]
    scale-amounts = "my_package.amounts:scale"

The function gets a pyarrow.RecordBatch with the fields of the records and the outputs that the step takes (as columns
named STEP.OUTPUT), and returns a mapping from output names to numpy arrays with a row for each record. Several threads
may call it at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import entry_points

import pyarrow as pa

from models.columns.outputs import RecordOutputs, select_outputs
from models.errors import ScoringError
from models.tensors import Array

ENTRY_POINTS = "beam_serving.transforms"
"""The group of the entry points."""

Transform = Callable[[pa.RecordBatch], Mapping[str, Array]]


def transform(name: str, columns: pa.RecordBatch) -> RecordOutputs:
    """The outputs of an installed transform.

    Raises:
      ScoringError: it is not installed, cannot be imported, or does not return a row for each record.
    """
    found = installed_transform(name)(columns)
    if not isinstance(found, Mapping):
        raise ScoringError(f"transform {name!r} returned {type(found).__name__}, not a mapping of arrays")
    return select_outputs(found, {}, columns.num_rows)


@cache
def installed_transform(name: str) -> Transform:
    """The function of an entry point; raises ScoringError when it is not installed, or cannot be imported."""
    installed = entry_points(group=ENTRY_POINTS)
    for one in installed:
        if one.name == name:
            try:
                loaded: Transform = one.load()
            except Exception as error:
                raise ScoringError(f"transform {name!r} ({one.value}) cannot be imported: {error}") from error
            return loaded
    known = ", ".join(sorted(one.name for one in installed)) or "none"
    raise ScoringError(
        f"transform {name!r} is not installed on this worker; installed entry points of {ENTRY_POINTS}: {known}"
    )
