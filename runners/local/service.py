"""What every service that we start on this machine has: a folder to work in, and an end with this process."""

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
    """A service with a work folder of its own.

    Life cycle: `start`; `close` ends it for good and removes a temporary work folder. As a context manager it starts
    and closes. It is closed when this process exits; a fork of this process closes nothing. Not thread-safe.

    Args:
      work_folder: where it keeps everything; None: a temporary folder.
      prefix: of a temporary folder's name.
    """

    def __init__(self, work_folder: Path | None, prefix: str) -> None:
        self._owner = os.getpid()
        self._folder_is_temporary = work_folder is None
        self.work_folder = work_folder.absolute() if work_folder else Path(tempfile.mkdtemp(prefix=prefix))
        atexit.register(self.close)

    @abstractmethod
    def start(self) -> None:
        """Starts it and returns when it answers. Does nothing when it runs."""

    @abstractmethod
    def _end(self, *, in_order: bool) -> None:
        """Ends what runs: `in_order` when its data are kept, else at once. Does nothing when nothing runs."""

    def close(self) -> None:
        """Ends it for good; a temporary work folder is removed. Idempotent."""
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
