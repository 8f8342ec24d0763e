"""Keeps a registry in sync with the models topic, on a thread of its own beside the scoring.

A follower that fails must not silently leave the old models in service forever:

- While no broker answers, it waits and tries again; the records wait for the same broker.
- After an unexpected error it tries again, up to five times in a row, after pauses that grow from 1 to 16 seconds.
- After that, it stops; it stops at once if the models topic cannot be used (two partitions, a missing permission).
  Stopping leaves an ERROR in the log, a status event `stopped`, and a metric.
- The loaded models continue to serve for `patience` seconds. Then bundles fail, so that the runner restarts the
  worker. If the runner keeps the process, the follower starts again when a bundle has failed, and the next attempt of
  the bundle may succeed.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from models.errors import (
    KafkaUnreachableError,
    ModelsNotFollowedError,
    ModelsTopicCutError,
    ModelsTopicError,
    ServingError,
)
from models.loading.loader import ModelLoader
from models.model_topic.catalog import ModelCatalog
from models.model_topic.fences import FRESHNESS_MILLISECONDS
from models.model_topic.reader import ModelsTopicReader, TopicState
from models.routing.plan import plans
from models.serving.loads import ModelLoads
from models.serving.pool import RetryPauses
from models.serving.registry import ModelRegistry

_LOGGER = logging.getLogger(__name__)

_RETRY_SECONDS = 1.0
_STATISTICS_SECONDS = 2.0
# While records arrive, the follower queries the topic's end this often, so that no record has to wait for it.
_FRESH_SECONDS = 0.2
# Records count as arriving if the last batch is no older than this.
_ACTIVE_SECONDS = 1.0
# The follower checks the topic this often even without new positions, in case the runner lost one.
_LOOK_SECONDS = 30.0

Positions = Mapping[str, int]


def every_data_type(_: str) -> bool:
    """True, to follow the models of all data types."""
    return True


@dataclass(frozen=True)
class FollowerSettings:
    """Settings of a follower.

    Attributes:
      scores: whether this worker scores records of a data type; models of other data types are ignored.
      patience: seconds for which bundles may use the loaded models after the follower has stopped.
      pauses: the pauses between attempts after unexpected errors.
      attempts: the number of unexpected errors in a row after which the follower still tries again.
      loads: how many models are loaded at a time.
    """

    scores: Callable[[str], bool] = every_data_type
    patience: float = 60.0
    pauses: RetryPauses = field(default_factory=RetryPauses)
    attempts: int = 5
    loads: int = 1


@dataclass(frozen=True)
class _Stopped:
    error: Exception
    at: float


class ModelFollower:
    """Follows the models topic, and has the models that it names loaded.

    Args:
      reader: reads the models topic; only the follower's thread uses it.
      registry: receives the candidates and the loaded models.
      loader: loads the models.
      settings: the settings; None means the defaults.
      clock: returns a number of seconds that never decreases.
    """

    def __init__(
        self,
        reader: ModelsTopicReader,
        registry: ModelRegistry,
        loader: ModelLoader,
        settings: FollowerSettings | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reader = reader
        self._registry = registry
        self._settings = settings or FollowerSettings()
        self._loads = ModelLoads(registry, loader, self._settings.loads)
        self._clock = clock
        self._catalog = ModelCatalog()
        self._topic_id = ""
        self._shrunk = False
        self._look_at = 0.0
        self._reported_at = clock()
        self._wake = threading.Condition()
        self._wanted: dict[str, int] = {}
        self._looked: dict[str, int] | None = None
        self._fresh_at = 0
        self._needed_at = 0
        self._asked_at = -math.inf
        self._closed = False
        self._stopped: _Stopped | None = None
        self._thread = self._new_thread()

    def start(self) -> None:
        """Starts the thread, which catches up with the topic's current end and loads the live models."""
        self._thread.start()
        self._loads.start()

    def follow(self, positions: Positions) -> None:
        """Passes on the newest positions of the models topic, by topic id, and returns at once.

        Older positions have no effect.

        Raises:
          ModelsNotFollowedError: the follower stopped more than `patience` seconds ago, or is closed, in which case its
            models are closed as well.
        """
        stopped = self._stopped
        if self._closed:
            raise ModelsNotFollowedError("models are no longer followed: the worker is closing")
        if stopped is not None and self._clock() - stopped.at >= self._settings.patience:
            self._fail_bundle()
        if _has_news(positions, self._wanted):
            with self._wake:
                self._wanted = _newest(self._wanted, positions)
                self._wake.notify_all()

    def wait_current(self, positions: Positions) -> None:
        """Waits until everything below these positions is applied, and every candidate was loaded or has failed.

        Raises:
          ModelsNotFollowedError: the follower has stopped or is closed.
        """
        self.follow(positions)
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._is_over() or self._has_looked(positions), 1.0)
                over, looked = self._is_over(), self._has_looked(positions)
            if over:
                self._fail_bundle()
                self.follow(positions)
            elif looked and self._registry.wait_settled(1.0) and not self._closed:
                return

    def wait_fresh(self, timestamp: int) -> None:
        """Waits until everything that was published up to half a second before a record is applied.

        Any fence that holds for the record is then known. It does not wait for a follower that has stopped: the loaded
        models serve until its patience ends.

        Args:
          timestamp: Kafka's timestamp of the newest record of a batch, in milliseconds since 1970-01-01 UTC.
        """
        self._asked_at = self._clock()
        needed = min(timestamp, _milliseconds()) - FRESHNESS_MILLISECONDS
        if self._fresh_at >= needed:
            return
        with self._wake:
            self._needed_at = max(self._needed_at, needed)
            self._wake.notify_all()
            self._wake.wait_for(lambda: self._is_over() or self._fresh_at >= needed)

    def close(self) -> None:
        """Stops the thread, waits up to 30 seconds for a load in progress, and releases all models."""
        with self._wake:
            self._closed = True
            self._wake.notify_all()
        if self._thread.is_alive():
            self._thread.join(timeout=30.0)
        self._registry.close()
        self._loads.close()

    # --- Stopping, and starting again.

    def _is_over(self) -> bool:
        return self._closed or self._stopped is not None

    def _fail_bundle(self) -> None:
        """Raises the error that stopped the follower, and restarts it for the bundle's next attempt."""
        with self._wake:
            stopped, self._stopped = self._stopped, None
            if self._closed or stopped is None:  # None: another bundle has already raised it
                return
            self._thread = self._new_thread()
            self._thread.start()
        raise ModelsNotFollowedError(f"models are no longer followed: {_text(stopped.error)}") from stopped.error

    def _new_thread(self) -> threading.Thread:
        return threading.Thread(target=self._run, name="model-follower", daemon=True)

    def _run(self) -> None:
        error = self._run_steps()
        try:
            self._reader.close()
        except Exception:  # the error that stopped the follower must still be reported
            _LOGGER.exception("the consumers of the models topic could not be closed")
        if error is None:
            return
        _LOGGER.error("models are no longer followed: %s; bundles fail in %g s", _text(error), self._settings.patience)
        self._registry.report_stopped(_text(error))
        with self._wake:
            self._stopped = _Stopped(error, self._clock())
            self._wake.notify_all()

    def _run_steps(self) -> Exception | None:
        """Runs until the follower is closed, or returns the error that stops it."""
        failures = 0
        while not self._closed:
            try:
                self._step()
                failures = 0
            except ModelsTopicError as error:  # such as two partitions; trying again would not help
                return error
            except Exception as error:
                failures += 1
                if failures > self._settings.attempts:
                    return error
                pause = self._settings.pauses.after(failures)
                _LOGGER.exception("following the models failed unexpectedly; next attempt in %g s", pause)
                self._rest(pause)
        return None

    # --- One step.

    def _step(self) -> None:
        try:
            self._apply()
        except KafkaUnreachableError as error:
            _LOGGER.warning("%s; trying again", error)
            self._rest(_RETRY_SECONDS)
            return
        self._wait_for_news()
        if self._clock() - self._reported_at >= _STATISTICS_SECONDS:
            self._reported_at = self._clock()
            self._registry.report_statistics()
            self._registry.report_state(self._catalog.position, self._topic_id)

    def _apply(self) -> None:
        """Catches up with the topic's end if there are new positions or the last check was long ago.

        A position is only a hint that something changed. The follower does not wait for one beyond the topic's end,
        because it may belong to a topic that was deleted.
        """
        wanted, asked = self._wanted, _milliseconds()
        if self._clock() < self._look_at and not self._is_news(wanted):
            if self._fresh_due() > 0:
                return
            if self._reader.end() == self._catalog.position:
                self._set_fresh(asked)
                return
        topic = self._reader.look()
        if not self._accept(topic):
            self._set_fresh(asked)
            return
        try:
            self._reader.catch_up(self._catalog, topic.end)
        except ModelsTopicCutError:
            if not self._catalog.position:
                raise
            self._restart()
            return
        found = plans(self._catalog)
        self._registry.update({name: plan for name, plan in found.items() if self._settings.scores(name)})
        self._look_at = self._clock() + (_RETRY_SECONDS if self._is_behind(wanted) else _LOOK_SECONDS)
        with self._wake:
            self._looked = wanted
            self._wake.notify_all()
        self._set_fresh(asked)

    def _set_fresh(self, asked: int) -> None:
        with self._wake:
            self._fresh_at = asked
            self._wake.notify_all()

    def _fresh_due(self) -> float:
        """Seconds until the topic's end is queried even without news; infinite while no records arrive."""
        if self._needed_at > self._fresh_at:
            return 0.0
        if self._clock() - self._asked_at > _ACTIVE_SECONDS:
            return math.inf
        return _FRESH_SECONDS - (_milliseconds() - self._fresh_at) / 1000

    def _accept(self, topic: TopicState) -> bool:
        """Checks whether the topic was recreated; returns False if its state cannot be trusted yet.

        A missing or empty topic changes nothing: the models that were live before it was deleted continue to serve
        until something is published. A topic that is shorter than before is checked twice, because a broker that has
        just become the leader may report an earlier end for a moment.
        """
        if not topic.end:
            return True
        recreated = bool(self._topic_id and topic.topic_id and topic.topic_id != self._topic_id)
        shrunk = topic.end < self._catalog.position
        certain = recreated or not shrunk or self._shrunk
        self._shrunk = shrunk and not certain
        if not certain:
            self._look_at = self._clock() + _RETRY_SECONDS
            return False
        if recreated or shrunk:
            self._restart()
        self._topic_id = topic.topic_id or self._topic_id
        return True

    def _restart(self) -> None:
        """Starts over at the beginning of the topic; the loaded models serve until the topic has been read."""
        _LOGGER.warning("the models topic was recreated or truncated; reading it from its beginning")
        self._reader.close()
        self._catalog = ModelCatalog()
        self._look_at = 0.0

    def _is_behind(self, wanted: Positions) -> bool:
        """Whether a position lies beyond the messages read so far; one without an id may be of the current topic."""
        newest = max(wanted.get(self._topic_id, 0), wanted.get("", 0))
        return newest > self._catalog.position

    def _is_news(self, wanted: Positions) -> bool:
        return not self._shrunk and (self._looked is None or _has_news(wanted, self._looked))

    def _has_looked(self, positions: Positions) -> bool:
        return self._looked is not None and not _has_news(positions, self._looked)

    def _wait_for_news(self) -> None:
        seconds = max(0.0, min(_STATISTICS_SECONDS, self._look_at - self._clock(), self._fresh_due()))
        with self._wake:
            self._wake.wait_for(
                lambda: self._closed or self._is_news(self._wanted) or self._needed_at > self._fresh_at, seconds
            )

    def _rest(self, seconds: float) -> None:
        with self._wake:
            self._wake.wait_for(lambda: self._closed, seconds)


def _has_news(positions: Positions, known: Positions) -> bool:
    return any(offset > known.get(topic_id, 0) for topic_id, offset in positions.items())


def _newest(known: Positions, positions: Positions) -> dict[str, int]:
    newest = dict(known)
    for topic_id, offset in positions.items():
        newest[topic_id] = max(offset, newest.get(topic_id, 0))
    return newest


def _milliseconds() -> int:
    return time.time_ns() // 1_000_000


def _text(error: Exception) -> str:
    return str(error) if isinstance(error, ServingError) else f"{type(error).__name__}: {error}"
