"""The seam between scoring and those who watch it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
import numpy.typing as npt

from models.columns.labels import Label
from models.observing.answered import AnsweredBatch
from models.observing.instruments import Instrument
from models.observing.tracing import NO_TRACING, Tracing

Labels = tuple[str, ...]
Values = npt.NDArray[np.float64]


class Meter(Protocol):
    """Takes measurements.

    It is called on the threads that score, a few times for each batch, so it returns at once, never raises, and is
    thread-safe.
    """

    def measure(self, instrument: Instrument, value: float, labels: Labels = ()) -> None:
        """Takes one value: an amount to add for a counter, the new value for a gauge, an observation for a histogram.

        Args:
          instrument: what was measured.
          value: the value, in the instrument's unit.
          labels: one value for each label of the instrument, in their order.
        """

    def measure_all(self, instrument: Instrument, values: Values, labels: Labels = ()) -> None:
        """Takes several observations of a histogram: float64 [observations]."""

    def replace(self, instrument: Instrument, values: Mapping[Labels, float]) -> None:
        """Takes the values of a gauge for all labels; labels that are not among them have no value any more."""


class Observer(Meter, Protocol):
    """Takes measurements and answers; it is called like a `Meter`."""

    @property
    def tracing(self) -> Tracing:
        """Opens the spans of traced records."""

    def answered(self, answered: AnsweredBatch) -> None:
        """Takes a batch whose messages are assembled, and are on their way to the broker next."""

    def labelled(self, coordinates: bytes, label: Label) -> None:
        """Takes the label of the record at these coordinates, TOPIC-PARTITION-OFFSET."""


class NoObserver:
    """Ignores everything."""

    tracing: Tracing = NO_TRACING

    def measure(self, instrument: Instrument, value: float, labels: Labels = ()) -> None:
        """Ignores a value."""

    def measure_all(self, instrument: Instrument, values: Values, labels: Labels = ()) -> None:
        """Ignores observations."""

    def replace(self, instrument: Instrument, values: Mapping[Labels, float]) -> None:
        """Ignores values."""

    def answered(self, answered: AnsweredBatch) -> None:
        """Ignores a batch."""

    def labelled(self, coordinates: bytes, label: Label) -> None:
        """Ignores a label."""


NO_OBSERVER = NoObserver()
