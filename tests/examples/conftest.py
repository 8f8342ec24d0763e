"""Deployments as in tests/end_to_end, created from the configurations in examples/."""

from __future__ import annotations

from tests.end_to_end.conftest import deploy

__all__ = ["deploy"]
