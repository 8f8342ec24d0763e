"""Everything that the page shows, kept current by threads that follow the topics."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

from confluent_kafka import Message

from beam_pipeline.dashboard.dead_letters import MOST_LETTERS, DeadLetters
from beam_pipeline.dashboard.distributions import Distributions
from beam_pipeline.dashboard.drift import MOST_EVENTS, Drift
from beam_pipeline.dashboard.history import History
from beam_pipeline.dashboard.message_reader import MessageReader
from beam_pipeline.dashboard.models_topic import ModelsTopic, listed_json
from beam_pipeline.dashboard.repeated_thread import RepeatedThread
from beam_pipeline.dashboard.results import Results
from beam_pipeline.dashboard.results_follower import ResultsFollower
from beam_pipeline.dashboard.settings import WINDOW_SECONDS, DashboardSettings
from beam_pipeline.dashboard.topic_follower import TopicFollower
from beam_pipeline.dashboard.trace import Tracer
from beam_pipeline.dashboard.workers import Workers
from models.text import error_text

_LOGGER = logging.getLogger(__name__)

# The rows of a second that may still change, because results of it arrive.
RECENT_SECONDS = 5
_MODELS_SECONDS = 1.0


class FollowedTopics:
    """Follows the topics from `start` to `close`. The other methods are thread-safe.

    Args:
      settings: the topics, and how they are read.
    """

    def __init__(self, settings: DashboardSettings) -> None:
        kafka, topics = settings.kafka, settings.topics
        self._settings = settings
        self.history, self._distributions = History(), Distributions()
        # The tracer waits for one message, and must not wait behind the latencies.
        self._records, self._messages = MessageReader(kafka), MessageReader(kafka)
        self._results = Results(settings.reading, self._records, topics.records, self.history, self._distributions)
        self.letters, self._drift = DeadLetters(settings.reading.letters), Drift()
        self._workers, self._models = Workers(settings.deployment), ModelsTopic(kafka, topics.models)
        self.tracer = Tracer(topics, settings.reading, self._messages, self._models)
        self._threads = {
            topics.results: RepeatedThread(
                "results", ResultsFollower(kafka, topics.results, self._results.take).follow
            ),
            topics.models: RepeatedThread("models", lambda _: self._models.update(), _MODELS_SECONDS),
        }
        self._follow(topics.status, self._workers.take)
        self._follow(topics.dead_letters, self.letters.take, MOST_LETTERS)
        self._follow(topics.drift, self._drift.take, MOST_EVENTS)

    def _follow(self, topic: str | None, take: Callable[[Sequence[Message]], None], last: int | None = None) -> None:
        if topic is not None:
            follower = TopicFollower(self._settings.kafka, topic, take, last)
            self._threads[topic] = RepeatedThread(topic, follower.follow)

    def start(self) -> None:
        """Starts to follow the topics."""
        for thread in self._threads.values():
            thread.start()

    def close(self) -> None:
        """Ends the threads and closes the clients."""
        for thread in self._threads.values():
            thread.close()
        for reader in (self._models, self._records, self._messages):
            reader.close()

    def sections(self) -> dict[str, Any]:
        """The sections of the page as JSON, by name, without the rows of the charts.

        A section that cannot be made, because of what a topic contains, is left out and named among the problems.
        """
        problems = {name: one.problem for name, one in self._threads.items() if one.problem is not None}
        found: dict[str, Any] = {}
        for name, section in self._sections.items():
            try:
                found[name] = section()
            except Exception as error:
                _LOGGER.debug("the section %s cannot be shown", name, exc_info=True)
                problems[name] = error_text(error)
        return {**found, "problems": problems}

    @cached_property
    def _sections(self) -> dict[str, Callable[[], Any]]:
        topics = self._settings.topics
        sections: dict[str, Callable[[], Any]] = {
            "now": lambda: {"at": time.time(), **self.history.totals()},
            "versions": self.history.versions,
            "routes": self._models.routes,
            "models": self._listed_models,
            "changes": self._models.changes,
            "results": lambda: {"recent": self._results.recent(), "malformed": self._results.malformed},
            "predictions": self._predictions,
        }
        if topics.status is not None:
            sections |= {"workers": self._listed_workers, "refusals": self._workers.refusals}
            sections["status"] = lambda: {"malformed": self._workers.malformed}
        if topics.dead_letters is not None:
            sections["letters"] = self.letters.listed
        if topics.drift is not None:
            sections["drift"] = lambda: {"events": self._drift.events(), "malformed": self._drift.malformed}
        return sections

    def _predictions(self) -> list[dict[str, Any]]:
        return self._distributions.charts([one["number"] for one in self.history.versions()])

    def _listed_workers(self) -> list[dict[str, Any]]:
        state = self._models.state
        return self._workers.listed(state.end, state.topic_id)

    def rows(self, since: int = 0) -> dict[str, Any]:
        """The rows of the charts from a second on, and which seconds the charts show."""
        return {"window": WINDOW_SECONDS, "rows": self.history.seconds(since)}

    def _listed_models(self) -> Sequence[dict[str, Any]]:
        """The versions, each with its status in every deployment."""
        listed = self._models.listed()
        statuses: dict[tuple[str, int], list[dict[str, Any]]] = {}
        for status in self._workers.statuses(listed):
            statuses.setdefault((status["name"], status["version"]), []).append(status)
        return [
            {**listed_json(one), "status": statuses.get((one.descriptor.model_name, one.descriptor.model_version), [])}
            for one in listed
        ]
