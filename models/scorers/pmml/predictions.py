"""The predictions of a model for the rows of a frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from models.scorers.pmml.columns import STRING, Bools, Column, Floats, Places, literal
from models.scorers.pmml.elements import Element

Codes = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Prediction:
    """The results for all rows.

    Attributes:
      numbers: the numbers of a regression: [rows], NaN if missing. None for classes.
      labels: the texts of the classes or clusters.
      codes: the results of a classification or clustering: [rows], indices into `labels`, -1 if missing. None for
        numbers.
      probabilities: [rows, labels]; None if the model has none.
      affinities: for a clustering, the distance or similarity to each cluster, [rows, labels].
      entities: for each row, the id of the entity that decided, such as the node of a tree, as text.
      reasons: the reason codes of a scorecard, the most important one first.
      segments: the predictions of the segments of a mining model, by their ids.
    """

    numbers: Floats | None = None
    labels: tuple[str, ...] = ()
    codes: Codes | None = None
    probabilities: Floats | None = None
    affinities: Floats | None = None
    entities: Column | None = None
    reasons: tuple[Column, ...] = ()
    segments: Mapping[str, Prediction] = field(default_factory=dict)

    def without(self, rows: Bools) -> Prediction:
        """The same predictions, with missing results for some rows."""
        return self if not rows.any() else self.scattered(np.flatnonzero(~rows), len(rows), take=True)

    def missing(self) -> Bools:
        """Which rows have no result."""
        if self.codes is not None:
            return self.codes < 0
        assert self.numbers is not None
        return np.isnan(self.numbers)

    def scattered(self, places: Places, rows: int, take: bool = False) -> Prediction:
        """The predictions of some rows among all of them; the others have no results.

        Args:
          places: the rows of these predictions among all rows.
          rows: the number of all rows.
          take: whether this already has all rows, of which only those at `places` are kept.
        """

        def spread(values: Any, nothing: object) -> Any:
            if values is None:
                return None
            result = np.full((rows, *values.shape[1:]), nothing, values.dtype)
            result[places] = values[places] if take else values
            return result

        def column(one: Column | None) -> Column | None:
            return None if one is None else Column(spread(one.values, None if one.is_text else np.nan))

        return replace(
            self,
            numbers=spread(self.numbers, np.nan),
            codes=spread(self.codes, -1),
            probabilities=spread(self.probabilities, np.nan),
            affinities=spread(self.affinities, np.nan),
            entities=column(self.entities),
            reasons=tuple(one for one in map(column, self.reasons) if one is not None),
            segments={name: one.scattered(places, rows, take) for name, one in self.segments.items()},
        )


def winners(probabilities: Floats) -> Codes:
    """The index of the first largest number of each row; -1 for a row that has NaN."""
    if not len(probabilities):
        return np.zeros(0, np.int64)
    missing = np.isnan(probabilities).any(axis=1)
    return np.where(missing, -1, probabilities.argmax(axis=1)).astype(np.int64)


def classified(labels: tuple[str, ...], probabilities: Floats) -> Prediction:
    """The prediction of the most probable classes."""
    return Prediction(labels=labels, codes=winners(probabilities), probabilities=probabilities)


def label_column(labels: Sequence[str], codes: Codes, data_type: str, element: Element) -> Column:
    """The labels of the codes, as values of that type; missing for -1."""
    if data_type == STRING:
        table: Any = np.array([*labels, None], object)
        return Column(table[codes])
    numbers = [float(literal(label, data_type, element)) for label in labels]
    return Column(np.array([*numbers, np.nan])[codes])
