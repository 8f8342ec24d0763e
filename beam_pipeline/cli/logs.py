"""What the commands write to stderr: our own sentences, and of the libraries only warnings."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_QUIET = ("apache_beam", "PrismRunner", "absl", "urllib3", "tensorflow", "h5py")
# Prism warns of an empty transform that Beam's own Create makes, and of each bundle that a stop cuts short.
_SAID_BY_DESIGN = (
    "empty transform, with payload",
    "pipeline canceled",
    "Really starting service",
    "Really destroying service",
)


class _ByDesign(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        if record.name == "root" and record.levelno < logging.WARNING:  # Beam's job states
            return False
        text = record.getMessage()
        return not any(known in text for known in _SAID_BY_DESIGN)


def set_up_logs(verbose: bool = False, quiet: bool = False) -> None:
    """Sets up logging for a command; `verbose` shows the libraries' own progress too, `quiet` no progress at all."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.basicConfig(
        level=logging.WARNING if quiet else logging.INFO, format="%(asctime)s %(levelname)-7s %(name)s: %(message)s"
    )
    if verbose:
        return
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    for handler in logging.getLogger().handlers:
        handler.addFilter(_ByDesign())


@contextmanager
def without_start_lines() -> Iterator[None]:
    """Drops what libraries print to stderr while they are imported; it is shown when the import raises.

    TensorFlow's C++ code prints to the file descriptor before it reads any setting, TF_CPP_MIN_LOG_LEVEL included. Only
    for commands of one thread: what another thread logs meanwhile is dropped, too.
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
    """Silences what Beam's threads say when the runner is taken from under them, which is how a pipeline is stopped."""
    threading.excepthook = lambda _: None
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
    logging.getLogger("PrismRunner").setLevel(logging.CRITICAL)
