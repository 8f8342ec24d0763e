"""Converts the inputs of a call to the matrix of numbers that genmodel scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.errors import ScoringError
from models.tensors import Array, TensorSpec
from models.text import clean_text

_SHOWN = 80


@dataclass(frozen=True)
class Column:
    """One feature of a model.

    Attributes:
      name: the name in the model.
      codes: the number of each level of a category; None for a number.
    """

    name: str
    codes: Mapping[bytes, float] | None = None

    def spec(self) -> TensorSpec:
        """The input that fills this column."""
        return TensorSpec(self.name, np.dtype(np.float64 if self.codes is None else object), (None,))

    def numbers(self, values: Array, unknown_is_missing: bool) -> npt.NDArray[np.float64]:
        """The values as numbers, [rows]; a missing value is NaN.

        Raises:
          ScoringError: the values have the wrong type, or one is an unknown level that does not count as missing.
        """
        if self.codes is None:
            if values.dtype.kind not in "biuf":
                raise ScoringError(f"input {self.name!r} holds {values.dtype}, but numbers are expected")
            return values.astype(np.float64)
        texts = values.tolist()
        try:
            found = list(map(self.codes.get, texts))
        except TypeError as error:
            raise ScoringError(f"input {self.name!r} holds bytes that are not text: {error}") from error
        if not unknown_is_missing and None in found:
            text = texts[found.index(None)]
            shown = clean_text(text.decode("utf-8", "replace"), _SHOWN) if isinstance(text, bytes) else repr(text)
            raise ScoringError(
                f"input {self.name!r} holds {shown!r}, a level that the model does not know (option "
                "unknown-levels=missing scores it as a missing value)"
            )
        return np.array(found, np.float64)  # None becomes NaN


def category(name: str, levels: Sequence[str]) -> Column:
    """A column of texts. It cannot contain nulls, so the empty text is a missing value unless it is a level.

    As in EasyPredict, TEXT alone also stands for the level NAME.TEXT, unless TEXT is a level itself.

    >>> category("grape", ["grape.merlot", "riesling"]).codes
    {b'grape.merlot': 0.0, b'riesling': 1.0, b'merlot': 0.0, b'': nan}
    """
    codes = {level.encode("utf-8", "surrogatepass"): float(place) for place, level in enumerate(levels)}
    prefix = f"{name}.".encode()
    short = {text[len(prefix) :]: code for text, code in codes.items() if text.startswith(prefix)}
    return Column(
        name, {**codes, **{text: code for text, code in short.items() if text not in codes}, **_missing(codes)}
    )


def matrix_of(
    columns: Sequence[Column], inputs: Mapping[str, Array], rows: int, unknown_is_missing: bool
) -> npt.NDArray[np.float64]:
    """The inputs as numbers, [columns, rows]; raises the same errors as `Column.numbers`."""
    matrix = np.empty((len(columns), rows))
    for place, column in enumerate(columns):
        matrix[place] = column.numbers(inputs[column.name], unknown_is_missing)
    return matrix


def _missing(codes: Mapping[bytes, float]) -> dict[bytes, float]:
    return {} if b"" in codes else {b"": float("nan")}
