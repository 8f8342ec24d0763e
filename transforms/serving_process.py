"""The live models of a worker process: one registry per pipeline, shared by all of its DoFns."""

from __future__ import annotations

import gc
import os
import socket
import threading
from dataclasses import dataclass, field

from models.kafka.client import KafkaSettings
from models.model_topic.reader import ModelsTopicReader
from models.records.record_type import RecordType
from models.scorers import prepare_engines
from models.serving.follower import FollowerSettings, ModelFollower
from models.serving.loading import ModelLoader
from models.serving.registry import ModelRegistry
from transforms.file_systems import BeamOpener


@dataclass(frozen=True)
class ModelsSettings:
    """Where models come from.

    Attributes:
      kafka: the brokers.
      topic: the models topic.
      record_types: the types of the records that the models score.
      engines: the model types whose engines are imported before the first record arrives.
      deployment: the name of this deployment in status events, which is its consumer group.
      data_types: the data types whose models are followed; empty means all data types that the schema allows.
      timeout: seconds for which bundles may use the loaded models after the follower has stopped.
    """

    kafka: KafkaSettings
    topic: str
    record_types: tuple[RecordType, ...]
    engines: tuple[str, ...] = ()
    deployment: str = ""
    data_types: tuple[str, ...] = ()
    timeout: float = 60.0

    def scores(self, data_type: str) -> bool:
        """Whether workers score records of a data type, and therefore follow its models."""
        possible = any(one.may_score(data_type) for one in self.record_types)
        return possible and (not self.data_types or data_type in self.data_types)


@dataclass(frozen=True)
class Serving:
    """The registry of a process, and the follower that keeps it current.

    Attributes:
      registry: the live models.
      follower: loads the models that the models topic asks for, on a thread of its own.
      caught_up: set when the models that were live at the start of the process are loaded.
    """

    registry: ModelRegistry
    follower: ModelFollower
    caught_up: threading.Event = field(default_factory=threading.Event)

    @classmethod
    def start(cls, settings: ModelsSettings) -> Serving:
        """Imports the engines, creates the registry and the follower, and starts to follow the models topic."""
        prepare_engines(settings.engines)
        reader = ModelsTopicReader(settings.kafka, settings.topic)
        registry = ModelRegistry(f"{socket.gethostname()}:{os.getpid()}", deployment=settings.deployment)
        # The loader may share the follower's reader, because models are loaded on the follower's own thread.
        loader = ModelLoader(BeamOpener(), reader.fetch, [one.codec for one in settings.record_types])
        follower = ModelFollower(reader, registry, loader, FollowerSettings(settings.scores, settings.timeout))
        follower.start()
        return cls(registry, follower)

    def settle(self) -> None:
        """Marks the models that were live at the start as loaded, so the first batch may be scored. Idempotent."""
        if not self.caught_up.is_set():
            self.caught_up.set()
            # The objects of TensorFlow and Beam live as long as the process. Each full garbage collection would scan
            # them for 0.2 s, during which no record is scored.
            gc.freeze()

    def close(self) -> None:
        """Stops the follower and releases the models; a model in use is released after its last batch."""
        self.follower.close()
