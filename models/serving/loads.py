"""Loads the models that a registry wants, on separate threads beside the scoring."""

from __future__ import annotations

import logging
import threading
import time

from models.errors import ModelLoadError, ServingError
from models.loading.loader import ModelLoader
from models.model_topic.published import PublishedVersion
from models.observing.instruments import LOAD_DURATION
from models.serving.registry import ModelRegistry

_LOGGER = logging.getLogger(__name__)

_WAIT_SECONDS = 1.0
_CLOSE_SECONDS = 30.0


class ModelLoads:
    """Threads that load models, several at a time.

    Args:
      registry: decides which models to load, and receives them.
      loader: loads the models; it is used by all threads.
      threads: how many models are loaded at a time.
    """

    def __init__(self, registry: ModelRegistry, loader: ModelLoader, threads: int = 1) -> None:
        self._registry = registry
        self._loader = loader
        self._closed = False
        self._threads = [
            threading.Thread(target=self._run, name=f"model-load-{number}", daemon=True) for number in range(threads)
        ]

    def start(self) -> None:
        """Starts the threads."""
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Stops the threads, and waits up to 30 seconds for loads in progress; the registry must be closed first."""
        self._closed = True
        for thread in self._threads:
            if thread.is_alive():
                thread.join(timeout=_CLOSE_SECONDS)

    def _run(self) -> None:
        while not self._closed:
            version = self._registry.wait_for_load(_WAIT_SECONDS)
            if version is not None:
                self._load(version)

    def _load(self, version: PublishedVersion) -> None:
        began = time.perf_counter()
        try:
            model = self._loader.load(version)
        except ServingError as error:
            self._registry.failed(version, error)
        except Exception as error:
            _LOGGER.exception("model %s: the load failed unexpectedly", version.label)
            self._registry.failed(version, ModelLoadError(f"{type(error).__name__}: {error}"))
        else:
            name, number = version.descriptor.model_name, str(version.descriptor.model_version)
            self._registry.observer.measure(LOAD_DURATION, time.perf_counter() - began, (name, number))
            self._registry.loaded(version, model)
