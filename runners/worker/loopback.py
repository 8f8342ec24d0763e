"""Tunes the workers of a process for runners whose bundles last milliseconds."""

from __future__ import annotations

import threading
from typing import Any

from apache_beam.portability.api import beam_fn_api_pb2
from apache_beam.runners.worker import statesampler
from apache_beam.runners.worker.bundle_processor import BundleProcessor
from apache_beam.runners.worker.data_plane import _GrpcDataChannel
from apache_beam.runners.worker.sdk_worker import SdkHarness

_enqueue_at_once = _GrpcDataChannel._enqueue_to_send
_execute = SdkHarness._execute


def tune_worker_process() -> None:
    """Turns off Beam's own measurements of bundles in this process, and the behaviour that makes Prism spin.

    The sampler of execution times is a thread per bundle, and the end of the bundle waits for it: we measured 3 to 6 ms
    for bundles of 5 ms, and Prism keeps a core busy while it waits. Reporting the times, counts and sizes of every step
    to the runner costs another 2 ms per bundle. The transforms' own counters and gauges are kept.

    Prism also keeps a core busy between the end of a bundle's outputs and the bundle's response (its progress loop
    selects on a channel that is closed by then); two thirds of its processor time was spent there. In the opposite
    order it sleeps, so the outputs are ended once the response is on its way. The two are sent over separate streams,
    whose relative order is not defined; Prism commits a bundle when it has both.
    """
    statesampler.StateSampler.start = _start_without_thread
    BundleProcessor.monitoring_infos = _metrics_of_transforms
    _GrpcDataChannel._enqueue_to_send = _enqueue_ends_later
    SdkHarness._execute = _execute_then_end_outputs


def _start_without_thread(sampler: statesampler.StateSampler) -> None:
    """Like `StateSampler.start`, but without the thread, so that stopping the sampler does not wait for it."""
    sampler.tracked_thread = threading.current_thread()
    statesampler.set_current_tracker(sampler)


def _metrics_of_transforms(processor: BundleProcessor) -> list[Any]:
    """Like `BundleProcessor.monitoring_infos`, but only with the metrics that transforms define themselves."""
    found: dict[Any, Any] = {}
    for transform_id, operation in processor.ops.items():
        found.update(operation.user_monitoring_infos(transform_id))
    return list(found.values())


class _Instruction(threading.local):
    """The instruction that this thread executes: the ends of its outputs, or None if it executes no instruction."""

    ends: list[tuple[_GrpcDataChannel, Any]] | None = None


_instruction = _Instruction()


def _enqueue_ends_later(channel: _GrpcDataChannel, element: Any) -> None:
    """Like `_enqueue_to_send`, but the end of an output waits for the instruction's response."""
    ends = _instruction.ends
    if ends is not None and isinstance(element, beam_fn_api_pb2.Elements.Data) and element.is_last:
        ends.append((channel, element))
    else:
        _enqueue_at_once(channel, element)


def _execute_then_end_outputs(harness: SdkHarness, *arguments: Any) -> None:
    """Like `SdkHarness._execute`, which sends the response, but then ends the outputs."""
    ends: list[tuple[_GrpcDataChannel, Any]] = []
    _instruction.ends = ends
    try:
        _execute(harness, *arguments)
    finally:
        _instruction.ends = None
        for channel, element in ends:
            _enqueue_at_once(channel, element)
