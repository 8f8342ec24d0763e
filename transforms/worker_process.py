"""Ends what a pipeline's transforms keep in a worker process."""

from __future__ import annotations

from transforms.offset_commits import COMMITTERS
from transforms.partition_readers import READERS
from transforms.serving_process import SERVINGS


def close_worker_process() -> None:
    """Commits what was acknowledged, and closes consumers and models of all pipelines in this process.

    For a process that is its own worker (the DirectRunner's): a pipeline that is cancelled there tears no DoFn down.
    """
    COMMITTERS.close_all()
    SERVINGS.close_all()
    READERS.close_all()
