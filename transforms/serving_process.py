"""The live models of a worker process: one registry a pipeline, however many DoFns use it."""

from __future__ import annotations

import os
import socket
import threading
from dataclasses import dataclass

from models.follower import ModelFollower
from models.kafka_client import KafkaSettings
from models.loading import ModelLoader
from models.models_topic import ModelsTopicReader
from models.record_schema import RecordSchema
from models.registry import ModelRegistry
from transforms.file_systems import BeamOpener


@dataclass(frozen=True)
class ModelsSettings:
    """Where models come from.

    Attributes:
      kafka: the brokers.
      topic: the models topic.
      schema: of the records that the models score.
    """

    kafka: KafkaSettings
    topic: str
    schema: RecordSchema


@dataclass(frozen=True)
class Serving:
    """The registry of a process, and the follower that keeps it current."""

    registry: ModelRegistry
    follower: ModelFollower


class ServingProcesses:
    """Makes and shares `Serving`s. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._servings: dict[str, Serving] = {}
        self._users: dict[str, int] = {}

    def enter(self, run_id: str, settings: ModelsSettings) -> Serving:
        """A DoFn of this pipeline is set up in this process; the first one starts the follower."""
        with self._lock:
            self._users[run_id] = self._users.get(run_id, 0) + 1
            if run_id not in self._servings:
                self._servings[run_id] = _start(settings)
            return self._servings[run_id]

    def leave(self, run_id: str) -> None:
        """A DoFn of this pipeline is torn down; the last one stops the follower and releases the models."""
        with self._lock:
            self._users[run_id] -= 1
            last = self._users[run_id] <= 0
            serving = self._servings.pop(run_id) if last else None
            if last:
                del self._users[run_id]
        if serving is not None:
            serving.follower.close()


def _start(settings: ModelsSettings) -> Serving:
    reader = ModelsTopicReader(settings.kafka, settings.topic)
    bytes_reader = ModelsTopicReader(settings.kafka, settings.topic)
    registry = ModelRegistry(worker=f"{socket.gethostname()}:{os.getpid()}")
    follower = ModelFollower(reader, registry, ModelLoader(BeamOpener(), bytes_reader.fetch, settings.schema))
    follower.start()
    return Serving(registry, follower)


SERVINGS = ServingProcesses()
