"""The live models of a worker process: one registry a pipeline, however many DoFns use it."""

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
      record_types: of the records that the models score.
      engines: the model types whose engines are imported before the first record.
      deployment: names this deployment in status events: its consumer group.
      data_types: only the models of these data types are followed; empty: of all that the schema can have.
      timeout: seconds for which bundles go on with what is loaded when models are no longer followed.
    """

    kafka: KafkaSettings
    topic: str
    record_types: tuple[RecordType, ...]
    engines: tuple[str, ...] = ()
    deployment: str = ""
    data_types: tuple[str, ...] = ()
    timeout: float = 60.0

    def scores(self, data_type: str) -> bool:
        """Whether workers score records of a data type, and follow its models."""
        possible = any(one.may_score(data_type) for one in self.record_types)
        return possible and (not self.data_types or data_type in self.data_types)


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
        registry = ModelRegistry(f"{socket.gethostname()}:{os.getpid()}", deployment=settings.deployment)
        # The follower's thread loads, too: it closes the reader when nobody fetches any more.
        loader = ModelLoader(BeamOpener(), reader.fetch, [one.codec for one in settings.record_types])
        follower = ModelFollower(reader, registry, loader, FollowerSettings(settings.scores, settings.timeout))
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
