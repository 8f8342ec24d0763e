"""The cost of rollouts for the records that are answered meanwhile: a shadow beside the live model, and fences."""

from __future__ import annotations

import statistics
import time
from bisect import bisect_left
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.contenders.process import BEAM_SERVING, WARM_SECONDS, Runner, publish
from benchmarks.contenders.topics import make_topics
from benchmarks.steady.stream import latencies, median_and_late, print_latencies, steady_stream
from benchmarks.turns import in_turns
from models.errors import FenceLateError
from models.kafka.client import KafkaSettings
from models.model_topic.descriptor import ModelDescriptor
from models.model_topic.route import Generation
from models.model_topic.route_changes import promoted, with_shadow
from models.model_topic.route_publisher import RoutePublisher

_ALONE, _SHADOWED = "no shadow", "with a shadow"
_PAUSE_SECONDS = 2.0  # between two fences
_LEAD_SECONDS = 1.0
_NEAR_SECONDS = 0.05  # records that are due within this distance of a fence count as records at it


def shadows(kafka: KafkaSettings, model: Path, runner: Runner, turns: int, seconds: float) -> None:
    """The latency of the live model's answers at 500 records/s, without and with a shadow that scores every record."""

    def measure(name: str) -> list[float]:
        topics = make_topics(kafka)
        with steady_stream(BEAM_SERVING, kafka, topics, model, runner) as stream:
            if name == _SHADOWED:
                version = publish(kafka, topics, model, live=False)
                route = partial(_shadowed, descriptor=version)
                RoutePublisher(kafka, topics.models).change(version.model_name, route)
            stream.warm_up()
            return median_and_late(stream.read(seconds))

    print_latencies(in_turns((_ALONE, _SHADOWED), turns, measure))


def fences(kafka: KafkaSettings, model: Path, runner: Runner, seconds: float) -> None:
    """The latency at 500 records/s of records at fences between two loaded versions, and of all other records."""
    topics = make_topics(kafka)
    with steady_stream(BEAM_SERVING, kafka, topics, model, runner) as stream:
        first, second = publish(kafka, topics, model, live=False), publish(kafka, topics, model, live=False)
        publisher = RoutePublisher(kafka, topics.models)
        stream.read(2 * WARM_SECONDS)
        moments: list[int] = []
        turns = int(seconds / (_PAUSE_SECONDS + _LEAD_SECONDS))
        start = time.time()
        for turn in range(turns):
            chosen = (first, second)[turn % 2]
            try:
                changed = publisher.change(chosen.model_name, partial(_promoted, descriptor=chosen), _LEAD_SECONDS)
            except FenceLateError as late:
                print(f"  fence {turn + 1} was published too late: {late}", flush=True)
                continue
            fence = changed.newest.fence
            if fence is not None and fence.timestamp is not None:
                moments.append(fence.timestamp)
            time.sleep(_PAUSE_SECONDS + _LEAD_SECONDS)
        results = stream.read(time.time() - start)
    due = np.array([float(message.key()) for message in results])
    found = latencies(results)
    at = np.array([_is_near(moment, moments) for moment in due.tolist()]) & (due > start)
    others = ~at & (due > start)
    for name, part in (("at a fence", found[at]), ("all others", found[others])):
        p50, p99 = np.percentile(part, [50, 99])
        print(f"  {name:12}{len(part):7} records: p50 {p50:.1f} ms, p99 {p99:.1f} ms", flush=True)
    added = statistics.median(found[at]) - statistics.median(found[others])
    print(f"  {len(moments)} fences; they add {added:.1f} ms to the median", flush=True)


def _shadowed(before: Generation | None, descriptor: ModelDescriptor) -> Generation:
    live = before or promoted(None, descriptor.model_name, 1)
    return with_shadow(live, descriptor.model_name, descriptor.model_version, 1.0)


def _promoted(before: Generation | None, descriptor: ModelDescriptor) -> Generation:
    return promoted(before, descriptor.model_name, descriptor.model_version)


def _is_near(moment: float, moments: Sequence[int]) -> bool:
    """Whether a record that is due at `moment`, in seconds since 1970, is near one of the fences, in milliseconds."""
    place = bisect_left(moments, moment * 1000)
    return any(abs(one / 1000 - moment) <= _NEAR_SECONDS for one in moments[max(0, place - 1) : place + 1])
