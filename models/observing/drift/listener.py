"""The part of an observation that watches for drift: a collector and a monitor."""

from __future__ import annotations

from models.columns.labels import Label
from models.kafka.message_sender import MessageSender
from models.observing.answered import AnsweredBatch
from models.observing.drift.collector import SketchCollector
from models.observing.drift.monitor import DriftMonitor
from models.observing.drift.settings import DriftSettings


class DriftListener:
    """Watches the answers of this process, and, if it is chosen, those of the whole deployment.

    Args:
      settings: how the deployment watches for drift.
    """

    def __init__(self, settings: DriftSettings) -> None:
        self._sender = MessageSender(settings.kafka)
        self._collector = SketchCollector(settings, self._sender)
        self._monitor = DriftMonitor(settings, self._sender)
        self._collector.start()
        self._monitor.start()

    @property
    def acting(self) -> bool:
        """Whether this process judges the windows of the deployment now."""
        return self._monitor.acting

    def answered(self, answered: AnsweredBatch) -> None:
        """Takes a sample of a batch."""
        self._collector.answered(answered)

    def labelled(self, coordinates: bytes, label: Label) -> None:
        """Takes the label of a record."""
        self._collector.labelled(coordinates, label)

    def close(self) -> None:
        """Ends both, and sends what they have."""
        self._collector.close()
        self._monitor.close()
        self._sender.close()
