"""The observation of a worker process: its sums, those who export them, and those who look at answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from models.columns.labels import Label
from models.observing.answered import AnsweredBatch
from models.observing.answers import measure_answers
from models.observing.instruments import Instrument
from models.observing.observer import Labels, Values
from models.observing.totals import Totals
from models.observing.tracing import NO_TRACING, Tracing


class AnswerListener(Protocol):
    """Looks at answers off the path of the records: it takes note and returns at once."""

    def answered(self, answered: AnsweredBatch) -> None:
        """Takes a batch of answers; never raises, and never waits."""

    def close(self) -> None:
        """Ends its work, within a few seconds."""


class LabelListener(Protocol):
    """Looks at the labels of records, like an `AnswerListener` at their answers."""

    def labelled(self, coordinates: bytes, label: Label) -> None:
        """Takes the label of the record at TOPIC-PARTITION-OFFSET; never raises, and never waits."""


class Exporter(Protocol):
    """Passes the sums on until it is closed."""

    def close(self) -> None:
        """Passes on what is left, within a few seconds."""


class Observation:
    """Adds up measurements, and passes answers on to those who look at them. Thread-safe.

    Args:
      totals: the sums.
      exporters: those who read them, and are closed with the observation.
      listeners: those who look at answers; closed first.
      tracing: opens the spans of traced records; closed with the observation.
      label_listeners: those who look at labels; they are not closed.
    """

    def __init__(
        self,
        totals: Totals,
        exporters: Sequence[Exporter] = (),
        listeners: Sequence[AnswerListener] = (),
        tracing: Tracing = NO_TRACING,
        label_listeners: Sequence[LabelListener] = (),
    ) -> None:
        self.totals = totals
        self.tracing = tracing
        self._exporters = tuple(exporters)
        self._listeners = tuple(listeners)
        self._label_listeners = tuple(label_listeners)

    def measure(self, instrument: Instrument, value: float, labels: Labels = ()) -> None:
        """Takes one value (`models.observing.observer.Observer`)."""
        self.totals.measure(instrument, value, labels)

    def measure_all(self, instrument: Instrument, values: Values, labels: Labels = ()) -> None:
        """Takes observations of a histogram: float64 [observations]."""
        self.totals.measure_all(instrument, values, labels)

    def replace(self, instrument: Instrument, values: Mapping[Labels, float]) -> None:
        """Takes the values of a gauge for all labels."""
        self.totals.replace(instrument, values)

    def listen(self, listener: AnswerListener) -> None:
        """Passes answers on to another listener until `leave`; the caller closes it."""
        self._listeners = (*self._listeners, listener)

    def leave(self, listener: AnswerListener) -> None:
        """Ends what `listen` began."""
        self._listeners = tuple(one for one in self._listeners if one is not listener)

    def answered(self, answered: AnsweredBatch) -> None:
        """Measures a batch, and passes it on to the listeners."""
        measure_answers(self.totals, answered)
        for one in self._listeners:
            one.answered(answered)

    def labelled(self, coordinates: bytes, label: Label) -> None:
        """Passes a label on to those who look at labels."""
        for one in self._label_listeners:
            one.labelled(coordinates, label)

    def close(self) -> None:
        """Closes the listeners, then the exporters and the traces."""
        for one in (*self._listeners, *self._exporters, self.tracing):
            one.close()
