"""Which of these tests are collected."""

from __future__ import annotations

from flink.cluster.building import binaries

# A part of CI wherever it has been built before, for example by `make kubernetes-up`.
collect_ignore = [] if binaries.KUBERNETES.file.is_file() else ["test_dry_run.py"]
