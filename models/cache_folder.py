"""The folder for what is downloaded or built once: outside the source tree, shared by all of a user's checkouts."""

from __future__ import annotations

import os
from pathlib import Path

APPLICATION = "beam-serving"


def cache_folder(*parts: str) -> Path:
    """The folder `parts` in our cache, below `$XDG_CACHE_HOME` or `~/.cache`; it may not exist yet."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base, APPLICATION, *parts)
