"""The control groups that the kubelet creates for pods, and does not remove when it stops."""

from __future__ import annotations

import contextlib
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")


def remove() -> None:
    """Removes the groups of pods, which are empty once all containers are gone."""
    for group in (_ROOT / "kubepods", *_ROOT.glob("*/kubepods")):
        if group.is_dir():
            folders = sorted((path for path in group.rglob("*") if path.is_dir()), reverse=True)
            for folder in (*folders, group):
                with contextlib.suppress(OSError):
                    folder.rmdir()
