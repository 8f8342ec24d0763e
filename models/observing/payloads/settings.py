"""Which payloads are logged, and where to."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass

from models.errors import OptionsError
from models.extras import extras_named
from models.kafka.client import KafkaSettings
from models.observing.observer import Meter
from models.observing.payloads.destination import Destination
from models.observing.payloads.file_settings import FileSettings
from models.observing.payloads.log import PayloadLog
from models.observing.sampling import Sampling


@dataclass(frozen=True)
class TopicSettings:
    """A topic of payloads."""

    kafka: KafkaSettings
    topic: str


@dataclass(frozen=True)
class PayloadSettings:
    """Which payloads are logged, and where to.

    Attributes:
      share: the share of records, above 0 and up to 1.
      deployment: the name of the deployment, which is a part of the names of files.
      files: the files to write; None for none.
      topic: the topic to write to; None for none.
    """

    share: float
    deployment: str
    files: FileSettings | None = None
    topic: TopicSettings | None = None

    def check(self) -> None:
        """Checks what can be checked without writing anything.

        Raises:
          OptionsError: there is neither a folder nor a topic.
          MissingExtraError: the package with the messages of files is missing.
        """
        if self.files is None and self.topic is None:
            raise OptionsError("--payload-share needs --payload-folder or --payload-topic")
        if self.files is not None:
            with extras_named():
                import models.observing.payloads.prediction_log  # noqa: F401

    def open(self, meter: Meter) -> PayloadLog:
        """The log of this process, which the caller closes; raises MissingExtraError like `check`."""
        destinations: list[Destination] = []
        if self.files is not None:
            destinations.append(self._files(self.files, meter))
        if self.topic is not None:
            from models.kafka.message_sender import MessageSender
            from models.observing.payloads.events import PayloadTopic

            sender = MessageSender(self.topic.kafka)
            destinations.append(PayloadTopic(self.topic.topic, sender.send, meter, sender.close))
        return PayloadLog(Sampling(self.share), destinations, meter)

    def _files(self, files: FileSettings, meter: Meter) -> Destination:
        with extras_named():
            from models.observing.payloads.files import PayloadFiles

            return PayloadFiles(files, self.share, f"{self.deployment}-{socket.gethostname()}-{os.getpid()}", meter)
