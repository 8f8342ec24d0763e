"""Payloads in files: TFRecords of PredictionLog, rolled by time and size.

A file is written under a temporary name, and gets its own only when it is complete, so that whoever reads `*.tfrecord`
never sees a part of one.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import BinaryIO

from models.observing.instruments import PAYLOADS
from models.observing.observer import Meter
from models.observing.payloads.file_settings import FileSettings
from models.observing.payloads.payload import Payload
from models.observing.payloads.prediction_log import prediction_log
from models.observing.payloads.tf_records import framed
from models.text import error_text

_LOGGER = logging.getLogger(__name__)

SUFFIX = ".tfrecord"
TEMPORARY_SUFFIX = ".tmp"

_RETRY_SECONDS = 30.0


@dataclass
class _Part:
    """The file that is being written."""

    path: str
    stream: BinaryIO
    began: float
    size: int = 0
    records: int = 0


class PayloadFiles:
    """Writes payloads to files; see `models.observing.payloads.destination.Destination`.

    If the file system fails, the payloads of the file are lost and counted, and so is what comes in the 30 s after it.

    Args:
      settings: where to, and when to begin a new file.
      share: the share of records that is logged, which the files contain.
      name: the first part of the name of each file: the deployment and the worker.
      meter: counts the payloads.
      clock: returns the seconds since 1970-01-01 UTC.
    """

    def __init__(
        self,
        settings: FileSettings,
        share: float,
        name: str,
        meter: Meter,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._share = share
        self._name = re.sub(r"[^A-Za-z0-9._-]+", "-", name)
        self._meter = meter
        self._clock = clock
        self._part: _Part | None = None
        self._number = 0
        self._fails_until = 0.0

    def write(self, payloads: Sequence[Payload]) -> None:
        """Adds payloads to the file, and begins a new one when it is time; those without outputs are left out."""
        logs = [self._encoded(one) for one in payloads]
        for log in filter(None, logs):
            self._add(framed(log))
        self.tick()

    def tick(self) -> None:
        """Completes the file if it is old enough."""
        if self._part is not None and self._clock() >= self._part.began + self._settings.seconds:
            self._complete(self._part)

    def close(self) -> None:
        """Completes the file."""
        if self._part is not None:
            self._complete(self._part)

    def _encoded(self, payload: Payload) -> bytes | None:
        try:
            log = prediction_log(payload, self._share)
        except Exception as error:  # a dtype that TensorFlow does not have
            _LOGGER.warning("the payload of %s cannot be encoded: %s", payload.coordinates, error_text(error))
            self._meter.measure(PAYLOADS, 1, ("failed",))
            return None
        return None if log is None else bytes(log.SerializeToString())

    def _add(self, record: bytes) -> None:
        if self._clock() < self._fails_until:
            self._meter.measure(PAYLOADS, 1, ("failed",))
            return
        try:
            part = self._part = self._part or self._begun()
            part.stream.write(record)
        except Exception as error:
            self._fail(error, 1)
            return
        part.size += len(record)
        part.records += 1
        if part.size >= self._settings.megabytes * 1_000_000:
            self._complete(part)

    def _begun(self) -> _Part:
        now = self._clock()
        self._number += 1
        moment = datetime.fromtimestamp(now, timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        path = self._settings.system.join(self._settings.folder, f"{self._name}-{moment}-{self._number:05d}{SUFFIX}")
        return _Part(path, self._settings.system.create(path + TEMPORARY_SUFFIX), now)

    def _complete(self, part: _Part) -> None:
        try:
            part.stream.close()
            self._settings.system.rename(part.path + TEMPORARY_SUFFIX, part.path)
        except Exception as error:
            self._fail(error)
            return
        self._part = None
        self._meter.measure(PAYLOADS, part.records, ("filed",))

    def _fail(self, error: Exception, further: int = 0) -> None:
        """Gives the file up."""
        part, self._part = self._part, None
        lost = further + (0 if part is None else part.records)
        self._meter.measure(PAYLOADS, lost, ("failed",))
        self._fails_until = self._clock() + _RETRY_SECONDS
        folder = self._settings.folder
        _LOGGER.warning("payloads cannot be written to %s, and %d are lost: %s", folder, lost, error_text(error))
        if part is not None:
            with suppress(Exception):
                part.stream.close()
