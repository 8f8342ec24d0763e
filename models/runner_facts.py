"""The facts about a runner that the graph depends on; each runner states its own."""

from __future__ import annotations

from typing import Literal

# How the side input of model updates fires.
# default: the default trigger; the side input contains all positions so far (Prism).
# each: every position fires on its own and replaces the previous one (Flink, Dataflow).
Firing = Literal["default", "each"]

# Where the frontiers of acknowledged offsets are kept.
# process: in memory, for a runner with a single worker process.
# state: in Beam's keyed state, for a runner with several workers; checkpoints include it.
Frontiers = Literal["process", "state"]

# What of the sums of `models.observing` becomes Beam's own metrics.
# none: nothing, because the runner shows them to nobody, and each one costs time in every bundle (Prism).
# sums: counters and gauges, and of histograms the count and the sum (Dataflow, which limits their number).
# buckets: those of histograms as well (Flink, whose reporters pass them on).
BeamMetricsForm = Literal["none", "sums", "buckets"]
