"""The live models of a worker process: one registry per pipeline, shared by all of its DoFns."""

from __future__ import annotations

import gc
import os
import socket
import threading
from dataclasses import dataclass, field

from models.artifacts.pickles import NO_PICKLES, AllowedPickles
from models.explaining.settings import ExplanationSettings
from models.guarding.feedback import FeedbackFollower
from models.guarding.guard import RouteGuard
from models.kafka.client import KafkaSettings
from models.kafka.message_sender import MessageSender
from models.loading.loader import ModelLoader
from models.model_topic.inline_models import InlineModels
from models.model_topic.reader import ModelsTopicReader
from models.observing.observation import AnswerListener, Observation
from models.observing.observer import NO_OBSERVER, Observer
from models.records.record_type import RecordType
from models.scorers import prepare_engines
from models.serving.assembly import ScoringSettings
from models.serving.follower import FollowerSettings, ModelFollower
from models.serving.registry import ModelRegistry, RegistrySettings
from models.serving.shadows import ShadowScorer
from transforms.file_systems import BeamOpener

Client = InlineModels | MessageSender | RouteGuard | FeedbackFollower


@dataclass(frozen=True)
class ModelsSettings:
    """Where models come from, and how a worker process loads them.

    Attributes:
      kafka: the brokers.
      topic: the models topic.
      record_types: the types of the records that the models score.
      engines: the model types whose engines are imported before the first record arrives.
      deployment: the name of this deployment in status events, which is its consumer group.
      data_types: the data types whose models are followed; empty means all data types that the schema allows.
      timeout: seconds for which bundles may use the loaded models after the follower has stopped.
      wait: the maximum number of seconds for which records wait for the model that must score them.
      memory: the bytes of memory that the models of a worker process may take together; None means no limit.
      loads: how many models are loaded at a time; only one if memory is limited.
      status_topic: the topic to which workers report; None if there is none, in which case candidates are not watched.
      outliers: whether models with a baseline score outliers.
      pickles: the models that workers may load although loading them runs code.
      feedback_topic: the topic of rewards for bandits and labels for candidates; None if there is none.
      explanations: which answers are explained; None if none are.
    """

    kafka: KafkaSettings
    topic: str
    record_types: tuple[RecordType, ...]
    engines: tuple[str, ...] = ()
    deployment: str = ""
    data_types: tuple[str, ...] = ()
    timeout: float = 60.0
    wait: float = 60.0
    memory: int | None = None
    loads: int = 2
    status_topic: str | None = None
    feedback_topic: str | None = None
    pickles: AllowedPickles = NO_PICKLES
    explanations: ExplanationSettings | None = None
    outliers: bool = False

    def scores(self, data_type: str) -> bool:
        """Whether workers score records of a data type, and therefore follow its models."""
        possible = any(one.may_score(data_type) for one in self.record_types)
        return possible and (not self.data_types or data_type in self.data_types)


@dataclass(frozen=True)
class Serving:
    """The registry of a process, and the follower that keeps it current.

    Attributes:
      registry: the live models.
      follower: follows the models topic on a thread of its own, and has its models loaded.
      shadows: scores the shadows of routes.
      clients: the other clients of the brokers, which are closed last.
      explanations: explains answers; None if none are explained.
      caught_up: set once the models that were live at the start of the process are loaded.
    """

    registry: ModelRegistry
    follower: ModelFollower
    shadows: ShadowScorer
    clients: tuple[Client, ...] = ()
    explanations: _Listening | None = None
    caught_up: threading.Event = field(default_factory=threading.Event)

    @classmethod
    def start(
        cls, settings: ModelsSettings, scoring: ScoringSettings, observation: Observation | None = None
    ) -> Serving:
        """Imports the engines, creates the registry and the follower, and starts to follow the models topic.

        Answers are explained only if there is an observation, which passes them on.
        """
        observer: Observer = NO_OBSERVER if observation is None else observation
        prepare_engines(settings.engines)
        limits = RegistrySettings(
            model_wait=settings.wait, model_memory=settings.memory, deployment=settings.deployment
        )
        registry = ModelRegistry(f"{socket.gethostname()}:{os.getpid()}", limits, observer=observer)
        inline = InlineModels(settings.kafka, settings.topic)
        codecs = [one.codec for one in settings.record_types]
        loader = ModelLoader(
            BeamOpener(),
            inline.fetch,
            codecs,
            measured=settings.memory is not None,
            pickles=settings.pickles,
            meter=observer,
            outliers=settings.outliers,
        )
        follows = FollowerSettings(settings.scores, settings.timeout, loads=settings.loads)
        reader = ModelsTopicReader(settings.kafka, settings.topic)
        follower = ModelFollower(reader, registry, loader, follows)
        follower.start()
        sender = MessageSender(settings.kafka)
        shadows = ShadowScorer(registry, scoring, sender.send)
        clients: list[Client] = [inline, sender]
        if settings.status_topic is not None:
            guard = RouteGuard(
                settings.kafka,
                settings.topic,
                settings.status_topic,
                settings.deployment,
                settings.scores,
                registry.has_guardrails,
            )
            guard.start()
            clients.append(guard)
        if settings.feedback_topic is not None:
            feedback = FeedbackFollower(
                settings.kafka, settings.feedback_topic, registry.rewards, shadows.labels.add, observer.labelled
            )
            feedback.start()
            clients.append(feedback)
        explanations = None
        if settings.explanations is not None and observation is not None:
            listener = _explanations(settings.explanations, registry, scoring, inline, sender, observer)
            explanations = _Listening(observation, listener)
        return cls(registry, follower, shadows, tuple(clients), explanations)

    def settle(self) -> None:
        """Marks the models that were live at the start as loaded, so the first batch may be scored. Idempotent."""
        if not self.caught_up.is_set():
            self.caught_up.set()
            # The objects of TensorFlow and Beam live as long as the process. Each full garbage collection would scan
            # them for 0.2 s, during which no record is scored.
            gc.freeze()

    def close(self) -> None:
        """Stops the follower and releases the models; a model in use is released after its last batch."""
        if self.explanations is not None:
            self.explanations.close()
        self.shadows.close()
        self.follower.close()
        for client in self.clients:
            client.close()


class _Listening:
    """A listener that an observation passes answers on to until it is closed."""

    def __init__(self, observation: Observation, listener: AnswerListener) -> None:
        self._observation = observation
        self._listener = listener
        observation.listen(listener)

    def close(self) -> None:
        """Ends it."""
        self._observation.leave(self._listener)
        self._listener.close()


def _explanations(
    settings: ExplanationSettings,
    registry: ModelRegistry,
    scoring: ScoringSettings,
    inline: InlineModels,
    sender: MessageSender,
    observer: Observer,
) -> AnswerListener:
    """The listener that explains answers, started."""
    from models.explaining.explainer import Explainer, ExplainerSettings
    from models.explaining.listener import ExplanationListener

    explainer = Explainer(BeamOpener(), inline.fetch, ExplainerSettings(settings.output))
    listener = ExplanationListener(settings, registry, scoring.codec, explainer, sender.send, observer)
    listener.start()
    return listener
