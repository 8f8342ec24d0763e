"""Keeps a registry as the models topic wants it, in a thread of its own beside the scoring.

A follower that fails must not leave the old models serving for ever without a word:

- While no broker answers, it waits and tries again; the records wait for the same broker.
- After an unexpected error it tries again, up to five times in a row, after pauses that grow from 1 to 16 seconds.
- After that, and at once when the models topic cannot be used as it is (two partitions, a missing permission), it
  stops: an ERROR in the log, a status event `stopped`, a metric.
- What serves goes on serving for `patience` seconds. Then bundles fail, so that the runner restarts the worker. Where
  the runner keeps the process, the follower starts again when a bundle has failed, and the bundle's next attempt may
  succeed.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from models.errors import (
    KafkaUnreachableError,
    ModelLoadError,
    ModelsNotFollowedError,
    ModelsTopicCutError,
    ModelsTopicError,
    ServingError,
)
from models.model_topic.catalog import ModelCatalog
from models.model_topic.reader import TopicState
from models.serving.loading import ModelLoader
from models.serving.registry import ModelRegistry, RetryPauses

_LOGGER = logging.getLogger(__name__)

_RETRY_SECONDS = 1.0
_STATISTICS_SECONDS = 2.0
# Without any news the topic is looked at this often: what a runner lost must not be lost for ever.
_LOOK_SECONDS = 30.0

Positions = Mapping[str, int]


class ModelsReader(Protocol):
    """The models topic, as a follower needs it (`models.model_topic.reader.ModelsTopicReader`)."""

    def look(self) -> TopicState:
        """Which topic there is now, and where it ends."""

    def catch_up(self, catalog: ModelCatalog, position: int) -> None:
        """Applies all messages below `position`."""

    def close(self) -> None:
        """Closes the connections; the next call opens new ones."""


def every_data_type(_: str) -> bool:
    """Follows the models of all data types."""
    return True


@dataclass(frozen=True)
class FollowerSettings:
    """How a follower works.

    Attributes:
      scores: whether this worker scores records of a data type; the models of all others are left alone.
      patience: seconds for which bundles go on with what is loaded after the follower has stopped.
      pauses: before another attempt after an unexpected error.
      attempts: how many unexpected errors in a row are followed by another attempt.
    """

    scores: Callable[[str], bool] = every_data_type
    patience: float = 60.0
    pauses: RetryPauses = field(default_factory=RetryPauses)
    attempts: int = 5


@dataclass(frozen=True)
class _Stopped:
    error: Exception
    at: float


class ModelFollower:
    """Follows the models topic and loads what it wants, one model at a time.

    At most two versions of a model are in memory at once, for as long as the new one loads and the old one's last
    batch runs.

    Args:
      reader: the models topic; used by this follower's thread only.
      registry: gets the candidates and the loaded models.
      loader: loads them.
      settings: how it works.
      clock: seconds; never goes back.
    """

    def __init__(
        self,
        reader: ModelsReader,
        registry: ModelRegistry,
        loader: ModelLoader,
        settings: FollowerSettings | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reader = reader
        self._registry = registry
        self._loader = loader
        self._settings = settings or FollowerSettings()
        self._clock = clock
        self._catalog = ModelCatalog()
        self._topic_id = ""
        self._shrunk = False
        self._look_at = 0.0
        self._told = clock()
        self._wake = threading.Condition()
        self._wanted: dict[str, int] = {}
        self._looked: dict[str, int] | None = None
        self._closed = False
        self._stopped: _Stopped | None = None
        self._thread = self._new_thread()

    def start(self) -> None:
        """Begins: catches up with the topic's end as it is now, and loads what is live there."""
        self._thread.start()

    def follow(self, positions: Positions) -> None:
        """Reports how far the models topic has come, by topic id; returns at once. Older positions change nothing.

        Raises:
          ModelsNotFollowedError: when the follower stopped longer ago than it has patience, or is closed: its models
            are, too.
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
        """Waits until everything below these positions is applied and every wanted model is served or was tried.

        Raises:
          ModelsNotFollowedError: when the follower has stopped, or is closed.
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

    def close(self) -> None:
        """Stops the thread, waiting for a load that is under way, and releases all models."""
        with self._wake:
            self._closed = True
            self._wake.notify_all()
        if self._thread.is_alive():
            self._thread.join(timeout=30.0)
        self._registry.close()

    # --- Stopping, and starting again.

    def _is_over(self) -> bool:
        return self._closed or self._stopped is not None

    def _fail_bundle(self) -> None:
        """Raises what stopped the follower, and starts it again for the bundle's next attempt."""
        with self._wake:
            stopped, self._stopped = self._stopped, None
            if self._closed or stopped is None:  # None: another bundle has failed with it
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
        except Exception:  # what stopped the follower must be reported all the same
            _LOGGER.exception("the consumers of the models topic could not be closed")
        if error is None:
            return
        _LOGGER.error("models are no longer followed: %s; bundles fail in %g s", _text(error), self._settings.patience)
        self._registry.report_stopped(_text(error))
        with self._wake:
            self._stopped = _Stopped(error, self._clock())
            self._wake.notify_all()

    def _run_steps(self) -> Exception | None:
        """Works until it is closed, or gives what stopped it."""
        failures = 0
        while not self._closed:
            try:
                self._step()
                failures = 0
            except ModelsTopicError as error:  # for example two partitions: trying again would not help
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
        if not self._load_next():
            self._wait_for_news()
        if self._clock() - self._told >= _STATISTICS_SECONDS:
            self._told = self._clock()
            self._registry.tell_statistics()

    def _apply(self) -> None:
        """Brings the registry up to the topic's end, if there is news or the last look is long ago.

        A position is news, and is not waited for beyond the end: it may be one of a topic that is gone.
        """
        wanted = self._wanted
        if self._clock() < self._look_at and not self._is_news(wanted):
            return
        topic = self._reader.look()
        if not self._accept(topic):
            return
        try:
            self._reader.catch_up(self._catalog, topic.end)
        except ModelsTopicCutError:
            if not self._catalog.position:
                raise
            self._restart()
            return
        candidates = self._catalog.candidates()
        self._registry.update({name: found for name, found in candidates.items() if self._settings.scores(name)})
        self._look_at = self._clock() + (_RETRY_SECONDS if self._is_behind(wanted) else _LOOK_SECONDS)
        with self._wake:
            self._looked = wanted
            self._wake.notify_all()

    def _accept(self, topic: TopicState) -> bool:
        """Takes note of which topic there is; False: what it says cannot be relied on yet.

        A topic that is missing or empty changes nothing: what was live before it was deleted goes on serving until
        something is published. One that is shorter than before is looked at twice, since a broker that has just become
        leader may know less for a moment.
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
        """Begins again at the topic's beginning; what serves goes on until the new topic is read."""
        _LOGGER.warning("the models topic was recreated or cut short; reading it from its beginning")
        self._reader.close()
        self._catalog = ModelCatalog()
        self._look_at = 0.0

    def _is_behind(self, wanted: Positions) -> bool:
        """Whether a position lies beyond what was read. Positions without an id may belong to this topic."""
        newest = max(wanted.get(self._topic_id, 0), wanted.get("", 0))
        return newest > self._catalog.position

    def _is_news(self, wanted: Positions) -> bool:
        return not self._shrunk and (self._looked is None or _has_news(wanted, self._looked))

    def _has_looked(self, positions: Positions) -> bool:
        return self._looked is not None and not _has_news(positions, self._looked)

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

    def _wait_for_news(self) -> None:
        dues = (_STATISTICS_SECONDS, self._registry.next_due(), self._look_at - self._clock())
        seconds = max(0.0, min(due for due in dues if due is not None))
        with self._wake:
            self._wake.wait_for(lambda: self._closed or self._is_news(self._wanted), seconds)

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


def _text(error: Exception) -> str:
    return str(error) if isinstance(error, ServingError) else f"{type(error).__name__}: {error}"
