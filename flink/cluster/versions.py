"""The versions of everything that the cluster consists of."""

from __future__ import annotations

import re
from pathlib import Path

FLINK_FOLDER = Path(__file__).resolve().parent.parent

# The newest that runs with cgroup v1, which containers on older machines still have.
KUBERNETES = "1.34.4"
COREDNS = "1.14.3"
# It enforces NetworkPolicies.
KUBE_ROUTER = "2.1.0"
PAUSE = "3.10"
# The newest whose program is in Maven Central.
FLINK_OPERATOR = "1.7.0"
# The oldest that flink/README.md names; the older program accepts these definitions too.
FLINK_OPERATOR_DEFINITIONS = "1.10.0"
PROMETHEUS_OPERATOR = "0.85.0"
KEDA = "2.21.0"


def base_images(dockerfile: Path) -> list[str]:
    """The images that a Dockerfile starts from, such as python:3.11.13-bookworm."""
    return re.findall(r"^FROM (\S+)", dockerfile.read_text(encoding="utf-8"), flags=re.MULTILINE)


def flink_version() -> str:
    """The version of Flink in the project's own image."""
    (name,) = (one for one in base_images(FLINK_FOLDER / "images/flink/Dockerfile") if one.startswith("flink:"))
    return name.partition(":")[2].partition("-")[0]


def _project_version() -> str:
    text = (FLINK_FOLDER.parent / "setup.py").read_text(encoding="utf-8")
    (found,) = re.findall(r'^    version="(.+)",$', text, flags=re.MULTILINE)
    return str(found)


PROJECT = _project_version()
