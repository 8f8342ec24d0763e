"""The job of OpenLineage that a deployment is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LineageJob:
    """What a deployment reads and writes.

    Attributes:
      deployment: the name of the deployment.
      bootstrap_servers: the brokers; the first one names them, as OpenLineage has it.
      read, written: the topics.
    """

    deployment: str
    bootstrap_servers: str
    read: tuple[str, ...]
    written: tuple[str, ...]
