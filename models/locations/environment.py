"""Values of environment variables that may be references to secrets, for openers of locations."""

from __future__ import annotations

import os

from models.secret_references import SECRETS


def from_environment(name: str) -> str | None:
    """The value of a variable, or the secret that it refers to; None if the variable is empty or not set.

    Raises:
      SecretUnavailableError: when the variable refers to a secret that cannot be read.
    """
    value = os.environ.get(name)
    return str(SECRETS.resolve({name: value})[name]) if value else None
