"""A thread that keeps trying, and says what is wrong in the meantime."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from confluent_kafka import KafkaException

from models.errors import ServingError
from models.text import error_text

_LOGGER = logging.getLogger(__name__)

_RETRY_SECONDS = 2.0


class RepeatedThread:
    """A thread that repeats a task from `start` to `close`.

    Args:
      name: the name of the thread.
      task: one repetition. It gets this thread, and may run for long if it looks at `stopping`.
      pause: the seconds between two repetitions; after a failure at least two.

    Attributes:
      stopping: set when the thread should end.
      problem: why the last repetition failed; None if the task succeeds.
    """

    def __init__(self, name: str, task: Callable[[RepeatedThread], None], pause: float = 0.0) -> None:
        self._task = task
        self._pause = pause
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self.stopping = threading.Event()
        self.problem: str | None = None

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def close(self) -> None:
        """Ends the thread after its current step."""
        self.stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def succeeded(self) -> None:
        """Called by a long repetition: whatever failed before works again."""
        self.problem = None

    def _run(self) -> None:
        while not self.stopping.is_set():
            self.problem = self._repeat()
            self.stopping.wait(self._pause if self.problem is None else max(self._pause, _RETRY_SECONDS))

    def _repeat(self) -> str | None:
        try:
            self._task(self)
        except ServingError as error:
            return str(error)
        except KafkaException as error:
            return error_text(error)
        except Exception as error:  # whatever a topic contains, the thread goes on
            _LOGGER.exception("%s failed", self._thread.name)
            return error_text(error)
        return None
