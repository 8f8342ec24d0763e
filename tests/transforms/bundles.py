"""Runs single bundles of the sources without a runner, as a runner would."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from apache_beam.runners.sdf_utils import RestrictionTrackerView, ThreadsafeRestrictionTracker
from apache_beam.transforms.window import TimestampedValue

from transforms.checkpointing import Reading
from transforms.kafka_source import FindPartitions, ReadPartition
from transforms.watermarks import WallClockWatermarkProvider


@dataclass
class Bundle:
    """The outcome of a bundle.

    Attributes:
      outputs: the elements, without their timestamps.
      rest: the remaining restriction; None if nothing remains.
      pause: the whole seconds until the rest is resumed.
    """

    outputs: list[Any] = field(default_factory=list)
    rest: Reading | None = None
    pause: int = 0


def run_bundle(
    source: FindPartitions | ReadPartition, element: Any, reading: Reading, checkpoint_after: int | None = None
) -> Bundle:
    """Runs one bundle; the runner requests a checkpoint after this many elements, or never."""
    tracker = ThreadsafeRestrictionTracker(source.create_tracker(reading))
    watermark = WallClockWatermarkProvider().create_watermark_estimator(
        source.initial_estimator_state(element, reading)
    )
    bundle = Bundle()
    outputs: Iterator[Any] = source.process(element, RestrictionTrackerView(tracker), watermark)
    for output in outputs:
        bundle.outputs.append(output.value if isinstance(output, TimestampedValue) else output)
        if len(bundle.outputs) == checkpoint_after:
            split = tracker.try_split(0)
            assert split is not None
            bundle.rest = split[1]
    tracker.check_done()
    deferred = tracker.deferred_status()
    if deferred is not None:
        assert bundle.rest is None, "checkpointed twice"
        bundle.rest, pause = deferred
        bundle.pause = round(pause.micros / 1e6)  # the clock has moved a little
    return bundle


def eventually(ask: Callable[[], Any], seconds: float = 30.0) -> Any:
    """Calls the function repeatedly until its result is true; returns it."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        answer = ask()
        if answer:
            return answer
        time.sleep(0.02)
    raise AssertionError(f"not in {seconds:g} s")
