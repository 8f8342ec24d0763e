"""Keeps a registry as the models topic wants it, in a thread of its own beside the scoring."""

from __future__ import annotations

import logging
import threading
import time
from typing import Protocol

from models.errors import KafkaUnreachableError, ModelLoadError, ServingError
from models.model_topic.catalog import ModelCatalog
from models.serving.loading import ModelLoader
from models.serving.registry import ModelRegistry

_LOGGER = logging.getLogger(__name__)

_RETRY_SECONDS = 1.0
_STATISTICS_SECONDS = 2.0


class ModelsReader(Protocol):
    """The models topic, as a follower needs it (`models.model_topic.reader.ModelsTopicReader`)."""

    def end(self) -> int:
        """The position behind the last message."""

    def catch_up(self, catalog: ModelCatalog, position: int) -> None:
        """Applies all messages below `position`."""

    def close(self) -> None:
        """Called once, by the follower's thread."""


class ModelFollower:
    """Follows the models topic and loads what it wants, one model at a time.

    At most two versions of a model are in memory at once, for as long as the new one loads and the old one's last
    batch runs.

    Args:
      reader: the models topic; used by this follower's thread only.
      registry: gets the candidates and the loaded models.
      loader: loads them.
    """

    def __init__(self, reader: ModelsReader, registry: ModelRegistry, loader: ModelLoader) -> None:
        self._reader = reader
        self._registry = registry
        self._loader = loader
        self._catalog = ModelCatalog()
        self._wake = threading.Condition()
        self._wanted = 0
        self._applied = -1
        self._closed = False
        self._told = time.monotonic()
        self._failed: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="model-follower", daemon=True)

    def start(self) -> None:
        """Begins: catches up with the topic's end as it is now, and loads what is live there."""
        self._thread.start()

    def follow(self, position: int) -> None:
        """Says that the topic has reached `position`; returns at once. An older position changes nothing."""
        if position > self._wanted:
            with self._wake:
                self._wanted = max(self._wanted, position)
                self._wake.notify_all()

    def wait_current(self, position: int) -> None:
        """Waits until everything below `position` is applied and every wanted model is served or was tried.

        Raises:
          Exception: what stopped the follower for good, for example a ModelsTopicError.
        """
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._applied >= position or self._failed is not None, 1.0)
                if self._failed is not None:
                    raise self._failed
                applied = self._applied >= position
            if applied and self._registry.wait_settled(1.0):
                return

    def close(self) -> None:
        """Stops the thread, waiting for a load that is under way, and releases all models."""
        with self._wake:
            self._closed = True
            self._wake.notify_all()
        if self._thread.is_alive():
            self._thread.join(timeout=30.0)
        self._registry.close()

    def _run(self) -> None:
        try:
            while not self._closed:
                self._step()
        except Exception as error:  # for example a models topic with two partitions: waiting would not help
            _LOGGER.error("models are no longer followed: %s", error)
            with self._wake:
                self._failed = error
                self._wake.notify_all()
        finally:
            self._reader.close()

    def _step(self) -> None:
        try:
            self._apply()
        except KafkaUnreachableError as error:
            _LOGGER.warning("%s; trying again", error)
            self._pause(_RETRY_SECONDS)
            return
        if not self._load_next():
            due = self._registry.next_due()
            self._pause(_STATISTICS_SECONDS if due is None else min(due, _STATISTICS_SECONDS))
        if time.monotonic() - self._told >= _STATISTICS_SECONDS:
            self._told = time.monotonic()
            self._registry.tell_statistics()

    def _apply(self) -> None:
        wanted = self._reader.end() if self._applied < 0 else self._wanted
        if wanted <= self._applied:
            return
        self._reader.catch_up(self._catalog, wanted)
        self._registry.update(self._catalog.candidates())
        with self._wake:
            self._applied = max(wanted, self._catalog.position)
            self._wake.notify_all()

    def _load_next(self) -> bool:
        version = self._registry.next_load()
        if version is None:
            return False
        try:
            model = self._loader.load(version)
        except ServingError as error:
            self._registry.failed(version, error)
        except Exception as error:
            _LOGGER.exception("model %s: the load failed in an unforeseen way", version.label)
            self._registry.failed(version, ModelLoadError(f"{type(error).__name__}: {error}"))
        else:
            self._registry.loaded(version, model)
        return True

    def _pause(self, seconds: float) -> None:
        with self._wake:
            self._wake.wait_for(lambda: self._closed or self._wanted > self._applied >= 0, seconds)
