"""Packages that only some deployments need: which extra of beam-serving installs them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from models.errors import MissingExtraError

# The module that an import asks for, and the extra of setup.py with the package that has it.
EXTRA_OF = {
    "authlib": "registry",
    "tenacity": "servers",
    "tensorflow_serving": "servers",
}


@contextmanager
def extras_named() -> Iterator[None]:
    """Imports inside may need an extra.

    Raises:
      MissingExtraError: when a module of an extra is missing; the message says what to install.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        extra = EXTRA_OF.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        raise MissingExtraError(
            f"the Python module {error.name} is missing; install beam-serving[{extra}] here and wherever workers run"
        ) from error
