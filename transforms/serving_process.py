"""The live models of a worker process: one registry a pipeline, however many DoFns use it."""

from __future__ import annotations

import gc
import os
import socket
import threading
from dataclasses import dataclass, field

from models.kafka.client import KafkaSettings
from models.model_topic.reader import ModelsTopicReader
from models.records.schema import RecordSchema
from models.scorers import prepare_engines
from models.serving.follower import ModelFollower
from models.serving.loading import ModelLoader
from models.serving.registry import ModelRegistry
from transforms.file_systems import BeamOpener
from transforms.per_pipeline import PerPipeline


@dataclass(frozen=True)
class ModelsSettings:
    """Where models come from.

    Attributes:
      kafka: the brokers.
      topic: the models topic.
      schema: of the records that the models score.
      engines: the model types whose engines are imported before the first record.
    """

    kafka: KafkaSettings
    topic: str
    schema: RecordSchema
    engines: tuple[str, ...] = ()


@dataclass(frozen=True)
class Serving:
    """The registry of a process, and the follower that keeps it current.

    Attributes:
      registry, follower: as above.
      caught_up: what was live when the process began is loaded.
    """

    registry: ModelRegistry
    follower: ModelFollower
    caught_up: threading.Event = field(default_factory=threading.Event)

    @classmethod
    def start(cls, settings: ModelsSettings) -> Serving:
        """Imports the engines, makes both, and begins to follow the models topic."""
        prepare_engines(settings.engines)
        reader = ModelsTopicReader(settings.kafka, settings.topic)
        bytes_reader = ModelsTopicReader(settings.kafka, settings.topic)
        registry = ModelRegistry(worker=f"{socket.gethostname()}:{os.getpid()}")
        follower = ModelFollower(reader, registry, ModelLoader(BeamOpener(), bytes_reader.fetch, settings.schema))
        follower.start()
        return cls(registry, follower)

    def settle(self) -> None:
        """What was live when the process began is loaded: the first batch may be scored. Idempotent."""
        if not self.caught_up.is_set():
            self.caught_up.set()
            # TensorFlow and Beam stay for as long as the process: to look through them for garbage costs 0.2 s a time.
            gc.freeze()

    def close(self) -> None:
        """Stops the follower and releases the models; those in use when their last batch is done."""
        self.follower.close()


SERVINGS: PerPipeline[Serving] = PerPipeline()
