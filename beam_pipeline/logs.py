"""Logging of the commands to stderr: our own messages, and only warnings from libraries."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_QUIET = ("apache_beam", "PrismRunner", "absl", "urllib3", "tensorflow", "h5py")
# Warnings that appear in normal operation: Prism warns about an empty transform that Beam's own Create produces, and
# about each bundle that a stop cuts short. If urllib3's retries fail, one of our own errors reports it.
_EXPECTED = (
    "empty transform, with payload",
    "pipeline canceled",
    "Retrying (Retry(",
    "Really starting service",
    "Really destroying service",
)


class _DropExpected(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        if record.name == "root" and record.levelno < logging.WARNING:  # Beam logs job states to the root logger
            return False
        text = record.getMessage()
        return not any(known in text for known in _EXPECTED)


def set_up_logs(verbose: bool = False, quiet: bool = False) -> None:
    """Sets up logging for a command.

    Args:
      verbose: also logs the libraries' own progress.
      quiet: logs warnings and errors only.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.basicConfig(
        level=logging.WARNING if quiet else logging.INFO, format="%(asctime)s %(levelname)-7s %(name)s: %(message)s"
    )
    if verbose:
        return
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    for handler in logging.getLogger().handlers:
        handler.addFilter(_DropExpected())


@contextmanager
def without_start_lines() -> Iterator[None]:
    """Drops what libraries print to stderr while they are imported, unless the import fails.

    TensorFlow's C++ code prints to the file descriptor before it reads any setting, TF_CPP_MIN_LOG_LEVEL included. Use
    this in single-threaded commands only, because it also drops what other threads log meanwhile.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as printed:
        os.dup2(printed.fileno(), 2)
        try:
            yield
        except BaseException:
            printed.seek(0)
            os.write(kept, printed.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)


def silence_runner() -> None:
    """Silences the errors of Beam's threads when the runner goes away, which is the normal way to stop a pipeline."""
    threading.excepthook = lambda _: None
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
    logging.getLogger("PrismRunner").setLevel(logging.CRITICAL)
