"""What differs in the graph from runner to runner; each runner names what works there."""

from __future__ import annotations

from typing import Literal

# How the side input of model updates fires.
# default: the default trigger; the side input is all positions so far (Prism).
# each: every position is a firing of its own and replaces the one before (Flink, Dataflow).
Firing = Literal["default", "each"]

# Where the frontiers of acknowledged offsets live.
# process: in the worker process, where there is only one.
# state: in Beam's keyed state, where there may be several; a checkpoint holds them.
Frontiers = Literal["process", "state"]
