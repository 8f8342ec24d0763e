"""The forest that each real server serves, and deployments as in tests/end_to_end."""

from __future__ import annotations

from tests.end_to_end.conftest import deploy
from tests.models.scorers.conftest import forest_file

__all__ = ["deploy", "forest_file"]
