"""The base of services on this machine: each has a work folder, and is closed when this process exits."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self


class LocalService(ABC):
    """A service with its own work folder.

    Life cycle: `start` starts it; `close` ends it for good and removes a temporary work folder. As a context manager it
    starts and closes. It is closed when this process exits, but not when a fork of this process does. Not thread-safe.

    Args:
      work_folder: the folder for all its files; None for a temporary folder.
      prefix: the prefix of a temporary folder's name.
    """

    def __init__(self, work_folder: Path | None, prefix: str) -> None:
        self._owner = os.getpid()
        self._folder_is_temporary = work_folder is None
        self.work_folder = work_folder.absolute() if work_folder else Path(tempfile.mkdtemp(prefix=prefix))
        atexit.register(self.close)

    @abstractmethod
    def start(self) -> None:
        """Starts the service and returns when it answers. Does nothing if it runs."""

    @abstractmethod
    def _end(self, *, in_order: bool) -> None:
        """Ends the service: `in_order` if its data is kept, otherwise at once. Does nothing if it does not run."""

    def close(self) -> None:
        """Ends the service for good and removes a temporary work folder. Idempotent."""
        if os.getpid() != self._owner:
            return
        atexit.unregister(self.close)
        self._end(in_order=not self._folder_is_temporary)
        if self._folder_is_temporary:
            shutil.rmtree(self.work_folder, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
