"""kubectl, with the cluster of this machine."""

from __future__ import annotations

from pathlib import Path

from flink.cluster import layout
from flink.cluster.building.binaries import KUBERNETES
from flink.cluster.commands import run


def path() -> Path:
    """The program, which has the cluster's version."""
    return KUBERNETES.file.with_name("kubectl")


def kubectl(*arguments: str, given: str | None = None, seconds: float = 120.0) -> str:
    """Runs kubectl as the cluster's administrator and returns its output; raises ClusterError when it fails."""
    return run([path(), f"--kubeconfig={layout.kubeconfig()}", *arguments], given=given, seconds=seconds)
