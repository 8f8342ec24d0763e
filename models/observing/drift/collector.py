"""Collects the sketches of a worker and sends them when their window has ended."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections import deque

from models.columns.labels import Label
from models.kafka.message_sender import MessageSender
from models.observing.answered import AnsweredBatch
from models.observing.drift.awaited_answers import AwaitedAnswers
from models.observing.drift.messages import ModelVersion, WindowMessage
from models.observing.drift.profile import Profile
from models.observing.drift.sampled_answers import AnswerSample, SampledAnswers, Version, grouped_values
from models.observing.drift.settings import DriftSettings
from models.records.outgoing import OutgoingMessage

_LOGGER = logging.getLogger(__name__)

_TICK_SECONDS = 1.0
_MOST_LABELS = 100_000
_CLOSE_SECONDS = 10.0


class SketchCollector:
    """Sketches a sample of the answers of this process, on a thread of its own.

    Args:
      settings: how the deployment watches for drift.
      sender: sends the sketches.
    """

    def __init__(self, settings: DriftSettings, sender: MessageSender) -> None:
        self._settings = settings
        self._sender = sender
        self._worker = f"{socket.gethostname()}:{os.getpid()}"
        self._sample = AnswerSample(settings.records_a_second)
        self._awaited = AwaitedAnswers()
        self._labels: deque[tuple[bytes, Label]] = deque(maxlen=_MOST_LABELS)
        self._profiles: dict[tuple[int, Version], Profile] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="drift-sketches", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def answered(self, answered: AnsweredBatch) -> None:
        """Takes a sample of a batch of live answers; those of shadows are not looked at."""
        if answered.live:
            self._sample.take(answered)

    def labelled(self, coordinates: bytes, label: Label) -> None:
        """Takes the label of a record."""
        self._labels.append((coordinates, label))

    def close(self) -> None:
        """Stops the thread, which sends what it has of the current window."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(_CLOSE_SECONDS)

    def _run(self) -> None:
        while not self._stop.wait(_TICK_SECONDS):
            self._work(_milliseconds())
        self._work(_milliseconds() + self._settings.policy.milliseconds)

    def _work(self, now: int) -> None:
        """Sketches what has been taken, and sends the windows that have ended."""
        try:
            self._sketch()
            for start, version in sorted(self._profiles):
                if start + self._settings.policy.milliseconds <= now:
                    self._send(start, version, self._profiles.pop((start, version)))
        except Exception:  # the sketches of a second are lost, which is better than all that follow
            _LOGGER.exception("sketches of answers are missing")

    def _sketch(self) -> None:
        policy = self._settings.policy
        groups: dict[tuple[int, Version], list[SampledAnswers]] = {}
        for sample in self._sample.drain():
            groups.setdefault((policy.start_of(sample.milliseconds), sample.version), []).append(sample)
            self._awaited.remember(sample)
        for key, samples in groups.items():
            profile = self._profiles.setdefault(key, Profile())
            for records, values in grouped_values(samples):
                profile.add(records, values)
        start = policy.start_of(_milliseconds())
        for _ in range(len(self._labels)):
            found = self._awaited.compare(*self._labels.popleft())
            if found is not None:
                profile = self._profiles.setdefault((start, found[0]), Profile())
                profile.labels += 1
                profile.correct += found[1]

    def _send(self, start: int, version: Version, profile: Profile) -> None:
        of = ModelVersion(self._settings.deployment, *version)
        message = WindowMessage(of, self._worker, start, self._settings.policy.window_seconds, profile)
        for key, value in message.encoded():
            self._sender.send(OutgoingMessage(self._settings.sketches_topic, key, value))


def _milliseconds() -> int:
    return time.time_ns() // 1_000_000
