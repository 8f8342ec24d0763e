"""The guard of a deployment: promotes or removes candidates, based on the reports of the workers.

Each worker process runs a guard, but only one of them acts: the one that is chosen by the group `GROUP-guard`
(`models.kafka.election`). If it is killed, another one takes over. Two guards may act at once for a moment. They do no
harm: a decision is published only if the route is still in the state that was judged, in a transaction that fences the
other guard.

The guard reads the status topic, where workers send the statistics of candidates.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace

from confluent_kafka import Consumer, TopicPartition

from models.errors import RouteError, ServingError, StatusEventError
from models.guarding.verdicts import Verdict, judge
from models.kafka.client import KafkaSettings
from models.kafka.election import Election
from models.model_topic.catalog import ModelCatalog
from models.model_topic.reader import ModelsTopicReader
from models.model_topic.route import Arm, Generation
from models.model_topic.route_changes import promoted, with_canary, without_arm
from models.model_topic.route_publisher import RoutePublisher
from models.status.arm_tallies import ArmStatistics, Key
from models.status.events import StatusEvent

_LOGGER = logging.getLogger(__name__)

_LOOK_SECONDS = 0.5
_REST_SECONDS = 5.0


class ReportedStatistics:
    """The newest statistics of each candidate and worker. Not thread-safe."""

    def __init__(self, deployment: str) -> None:
        self._deployment = deployment
        self._known: dict[Key, dict[str, ArmStatistics]] = {}

    def add(self, event: StatusEvent) -> None:
        """Stores the statistics that a worker reports; events of other kinds and deployments are ignored."""
        if event.kind == "candidate" and event.arm is not None and event.deployment == self._deployment:
            one = event.arm
            self._known.setdefault((one.data_type, one.route, one.arm), {})[event.worker] = one

    def total(self, key: Key) -> ArmStatistics:
        """The sum over all workers."""
        total = ArmStatistics(*key)
        for one in self._known.get(key, {}).values():
            total = total.plus(one)
        return total

    def keep(self, keys: set[Key]) -> None:
        """Forgets all other candidates."""
        self._known = {key: known for key, known in self._known.items() if key in keys}


def next_generation(generation: Generation, candidate: Arm, verdict: Verdict) -> Generation:
    """The generation that follows a verdict on the candidate of a generation."""
    assert candidate.guardrails is not None
    assert candidate.version is not None
    share = candidate.weight / sum(arm.weight for arm in generation.arms if arm.answers)
    if verdict.decision == "back":
        return _noted(without_arm(generation, candidate.name), f"{candidate.label} taken out: {verdict.reason}")
    step = candidate.guardrails.next_step(share)
    note = f"{candidate.label} from {100 * share:.4g} % to {100 * step:.4g} %: {verdict.reason}"
    if step >= 1:
        return _noted(promoted(generation, candidate.model, candidate.version), note)
    changed = with_canary(generation, candidate.model, candidate.version, step, candidate.guardrails)
    return _noted(changed, note)


def _noted(generation: Generation, note: str) -> Generation:
    return replace(generation, note=note)


class RouteGuard:
    """Watches the candidates of a deployment, on a thread of its own.

    Args:
      kafka: the brokers.
      models_topic, status_topic: the topics of the routes and of the workers' reports.
      deployment: the consumer group of the deployment.
      scores: whether the deployment scores records of a data type; routes of other data types are ignored.
      needed: whether there is a candidate to watch; without one, no connection is opened.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        models_topic: str,
        status_topic: str,
        deployment: str,
        scores: Callable[[str], bool],
        needed: Callable[[], bool],
    ) -> None:
        self._kafka = kafka
        self._models_topic = models_topic
        self._status_topic = status_topic
        self._deployment = deployment
        self._scores = scores
        self._needed = needed
        self._publisher = RoutePublisher(kafka, models_topic)
        self._acting = False
        self._malformed = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="route-guard", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def close(self) -> None:
        """Stops the thread, and lets another guard act."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=10.0)

    def _run(self) -> None:
        while not self._stop.is_set():
            if not self._needed():
                self._stop.wait(_LOOK_SECONDS)
                continue
            try:
                self._watch()
            except Exception as error:  # candidates wait; everything else continues
                _LOGGER.warning("candidates are temporarily not watched: %s", error)
                self._stop.wait(_REST_SECONDS)

    def _watch(self) -> None:
        election = Election(self._kafka, f"{self._deployment}-guard", self._models_topic)
        with closing(election):
            while not self._stop.is_set() and self._needed():
                if election.poll(_LOOK_SECONDS):
                    try:
                        self._act(election)
                    finally:
                        self._acting = False

    def _act(self, election: Election) -> None:
        """Acts until another guard is chosen."""
        _LOGGER.info("this worker watches the candidates of %r", self._deployment)
        status, reported, catalog = self._status_consumer(), ReportedStatistics(self._deployment), ModelCatalog()
        try:
            with closing(ModelsTopicReader(self._kafka, self._models_topic)) as reader:
                while election.poll(0) and not self._stop.is_set() and self._needed():
                    self._acting = True
                    for message in status.consume(1_000, _LOOK_SECONDS):
                        if message.error() is None:
                            self._take(reported, message.value())
                    reader.catch_up(catalog, reader.end())
                    self._decide(catalog, reported)
        finally:
            status.close()

    def _status_consumer(self) -> Consumer:
        """A consumer from now on, which suffices because each report covers all the time since its route began."""
        consumer = self._kafka.standalone_consumer()
        partitions = consumer.list_topics(self._status_topic, timeout=10.0).topics[self._status_topic].partitions
        places = [TopicPartition(self._status_topic, one) for one in partitions]
        for place in places:
            _, place.offset = consumer.get_watermark_offsets(place, timeout=10.0)
        consumer.assign(places)
        return consumer

    def _take(self, reported: ReportedStatistics, value: bytes | None) -> None:
        if not value:  # it deletes an event from a compacted topic
            return
        try:
            reported.add(StatusEvent.from_json(value))
        except StatusEventError as error:
            self._malformed += 1
            level = logging.WARNING if self._malformed == 1 else logging.DEBUG
            _LOGGER.log(level, "message %d of topic %s skipped: %s", self._malformed, self._status_topic, error)

    def _decide(self, catalog: ModelCatalog, reported: ReportedStatistics) -> None:
        watched = set()
        for data_type, published in catalog.routes.items():
            generation = published.route.newest
            for arm in generation.arms:
                if arm.guardrails is None or generation.offset is None or not self._scores(data_type):
                    continue
                key = data_type, generation.offset, arm.name
                watched.add(key)
                verdict = judge(arm.guardrails, reported.total(key))
                if verdict is not None:
                    self._publish(data_type, generation, arm, verdict)
        reported.keep(watched)

    def _publish(self, data_type: str, judged: Generation, candidate: Arm, verdict: Verdict) -> None:
        def change(newest: Generation | None) -> Generation:
            if newest is None or newest.offset != judged.offset:
                raise RouteError("the route has changed since its candidate was judged")
            return next_generation(newest, candidate, verdict)

        try:
            route = self._publisher.change(data_type, change, origin="guard")
        except ServingError as error:
            _LOGGER.warning("route of %r: no decision was published: %s", data_type, error)
            return
        _LOGGER.info("route of %r: %s", data_type, route.newest.note)
