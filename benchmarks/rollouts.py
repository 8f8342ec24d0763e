"""What rollouts cost the records that are answered meanwhile: a shadow beside the live model, and a route's fence."""

from __future__ import annotations

import statistics
import time
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
from confluent_kafka import Consumer

from benchmarks.contenders import (
    BEAM_SERVING,
    START_SECONDS,
    WARM_SECONDS,
    Runner,
    Topics,
    contender,
    make_topics,
    publish,
)
from benchmarks.measurement import SteadyRecords, latencies, read_results, results_reader
from benchmarks.recommender import records
from models.errors import FenceLateError
from models.kafka.client import KafkaSettings
from models.model_topic.descriptor import ModelDescriptor
from models.model_topic.route import Generation
from models.model_topic.route_changes import promoted, with_shadow
from models.model_topic.route_publisher import RoutePublisher

_PAUSE_SECONDS = 2.0  # between two fences
_LEAD_SECONDS = 1.0
_NEAR_SECONDS = 0.05  # how far from a fence a record is due that counts as one at it


def shadows(kafka: KafkaSettings, model: Path, runner: Runner, turns: int, seconds: float) -> None:
    """Latency at 500 records/s of the live model's answers, alone and with a shadow that scores every record, too."""
    figures: dict[bool, list[list[float]]] = {False: [], True: []}
    for turn in range(turns):
        for shadowed in (False, True):
            topics = make_topics(kafka)
            with _steady(kafka, topics, model, runner) as reader:
                if shadowed:
                    version = publish(kafka, topics, model, live=False)
                    route = partial(_shadowed, descriptor=version)
                    RoutePublisher(kafka, topics.models).change(version.model_name, route)
                found = _measured(reader, seconds)
            figures[shadowed].append([float(np.percentile(found, 50)), float(np.percentile(found, 99))])
            shown = ", ".join(f"{value:.1f}" for value in figures[shadowed][-1])
            print(f"  turn {turn + 1} of {turns}: {'with a shadow' if shadowed else 'no shadow'}: {shown}", flush=True)
    for place, name in enumerate(("p50", "p99")):
        ratios = [one[place] / other[place] for one, other in zip(figures[True], figures[False], strict=True)]
        print(f"  {name} with a shadow to that without: {statistics.median(ratios):.2f} (median)", flush=True)


def fences(kafka: KafkaSettings, model: Path, runner: Runner, seconds: float) -> None:
    """Latency at 500 records/s of the records at fences, between two versions that are loaded, and of all others."""
    topics = make_topics(kafka)
    with _steady(kafka, topics, model, runner) as reader:
        first, second = publish(kafka, topics, model, live=False), publish(kafka, topics, model, live=False)
        publisher = RoutePublisher(kafka, topics.models)
        read_results(reader, int(500 * 2 * WARM_SECONDS), 10 * WARM_SECONDS)
        moments: list[int] = []
        turns = int(seconds / (_PAUSE_SECONDS + _LEAD_SECONDS))
        start = time.time()
        for turn in range(turns):
            chosen = (first, second)[turn % 2]
            try:
                changed = publisher.change(chosen.model_name, partial(_promoted, descriptor=chosen), _LEAD_SECONDS)
            except FenceLateError as late:
                print(f"  fence {turn + 1} came too late: {late}", flush=True)
                continue
            fence = changed.newest.fence
            if fence is not None and fence.timestamp is not None:
                moments.append(fence.timestamp)
            time.sleep(_PAUSE_SECONDS + _LEAD_SECONDS)
        results = read_results(reader, int(500 * (time.time() - start)), 10 * seconds)
    due = np.array([float(message.key()) for message in results])
    found = latencies(results)
    at = np.array([_is_near(moment, moments) for moment in due.tolist()]) & (due > start)
    others = ~at & (due > start)
    for name, part in (("at a fence", found[at]), ("all others", found[others])):
        p50, p99 = np.percentile(part, [50, 99])
        print(f"  {name:12}{len(part):7} records: p50 {p50:.1f} ms, p99 {p99:.1f} ms", flush=True)
    added = statistics.median(found[at]) - statistics.median(found[others])
    print(f"  {len(moments)} fences; what they add to the median: {added:.1f} ms", flush=True)


@contextmanager
def _steady(kafka: KafkaSettings, topics: Topics, model: Path, runner: Runner) -> Iterator[Consumer]:
    """Our pipeline at 500 records/s, warm; yields what reads its results, at their end."""
    reader = results_reader(kafka, topics.results)
    with (
        contender(BEAM_SERVING, kafka, topics, model, "latest", runner),
        SteadyRecords(kafka, topics.records, records(10_000), 500.0),
    ):
        read_results(reader, 1_000, START_SECONDS)
        yield reader


def _measured(reader: Consumer, seconds: float) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    time.sleep(WARM_SECONDS)
    read_results(reader, 1, 5.0)
    return latencies(read_results(reader, int(500 * seconds), 10 * seconds))


def _shadowed(before: Generation | None, descriptor: ModelDescriptor) -> Generation:
    live = before or promoted(None, descriptor.model_name, 1)
    return with_shadow(live, descriptor.model_name, descriptor.model_version, 1.0)


def _promoted(before: Generation | None, descriptor: ModelDescriptor) -> Generation:
    return promoted(before, descriptor.model_name, descriptor.model_version)


def _is_near(moment: float, moments: Sequence[int]) -> bool:
    """Whether a record that is due then, in seconds since 1970, is at one of the ascending fences, in milliseconds."""
    place = bisect_left(moments, moment * 1000)
    return any(abs(one / 1000 - moment) <= _NEAR_SECONDS for one in moments[max(0, place - 1) : place + 1])
