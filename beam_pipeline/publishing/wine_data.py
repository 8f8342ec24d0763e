"""The red wines of the UCI Wine Quality data set (see data/ATTRIBUTION.md), for the generator and for the demo."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files

MEASURES = (
    "fixed_acidity",
    "volatile_acidity",
    "citric_acid",
    "residual_sugar",
    "chlorides",
    "free_sulfur_dioxide",
    "total_sulfur_dioxide",
    "density",
    "pH",
    "sulphates",
    "alcohol",
)
QUALITIES = 9  # 0 to 8


@dataclass(frozen=True)
class Wine:
    """A lot of wine: its measurements, in the order of `MEASURES`, and the quality as rated by tasters."""

    measures: tuple[float, ...]
    quality: int


def wine_file() -> bytes:
    """The content of the data file in the package."""
    return files("beam_pipeline.publishing").joinpath("data", "winequality-red.csv").read_bytes()


def read_wines() -> list[Wine]:
    """All lots, in the order of the file."""
    return [parse_wine(line) for line in wine_file().decode().splitlines()]


def parse_wine(line: str) -> Wine:
    """Parses one line of the file.

    >>> parse_wine("7.4;0.7;0;1.9;0.076;11;34;0.9978;3.51;0.56;9.4;5")
    Wine(measures=(7.4, 0.7, 0.0, 1.9, 0.076, 11.0, 34.0, 0.9978, 3.51, 0.56, 9.4), quality=5)
    """
    measured, _, quality = line.rpartition(";")
    return Wine(tuple(map(float, measured.split(";"))), int(quality))
