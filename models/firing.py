"""How the side input of model updates fires; each runner names what works there."""

from __future__ import annotations

from typing import Literal

# default: the default trigger; the side input is all positions so far (Prism).
# each: every position is a firing of its own and replaces the one before (Flink, Dataflow).
Firing = Literal["default", "each"]
