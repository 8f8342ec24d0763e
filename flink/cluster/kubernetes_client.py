"""kubectl, with the cluster of this machine."""

from __future__ import annotations

import shutil
from pathlib import Path

from flink.cluster import layout
from flink.cluster.building.binaries import KUBERNETES
from flink.cluster.commands import run
from flink.cluster.errors import ClusterError


def path() -> Path:
    """The program: the one that was built with the cluster, or that of the machine beside a container engine."""
    built = KUBERNETES.file.with_name("kubectl")
    return built if built.is_file() else Path(shutil.which("kubectl") or "kubectl")


def kubectl(*arguments: str, given: str | None = None, seconds: float = 120.0) -> str:
    """Runs kubectl as the cluster's administrator and returns its output; raises ClusterError when it fails."""
    return run([path(), f"--kubeconfig={layout.kubeconfig()}", *arguments], given=given, seconds=seconds)


def answers() -> bool:
    """Whether the cluster's API server is ready."""
    try:
        kubectl("get", "--raw=/readyz", seconds=10)
    except ClusterError:
        return False
    return True
