"""Makes this process a quick worker, for a runner whose bundles last milliseconds."""

from __future__ import annotations

import os
import sys

from apache_beam.runners.worker.statesampler import StateSampler


def tune_worker_process() -> None:
    """Experimental."""
    t = os.environ.get("BEAM_TUNE", "")
    if "p" in t:
        StateSampler.__init__.__defaults__ = (1,)
    if "s" in t:
        sys.setswitchinterval(0.001)
