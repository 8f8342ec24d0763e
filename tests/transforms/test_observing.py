from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from apache_beam.metrics.execution import MetricsContainer
from apache_beam.runners.worker import statesampler
from apache_beam.utils.counters import CounterFactory

from models.observing.instruments import BATCH_SIZE, CONSUMER_LAG, MODEL_SHARE, RECORDS, STAGE_DURATION
from models.observing.observation import Observation
from models.observing.totals import Totals
from transforms.observing import READING, SCORING, BeamMetrics, Observing, ProcessObservation


@pytest.fixture
def totals() -> Totals:
    return Totals()


@contextmanager
def in_bundle() -> Iterator[Callable[[], dict[str, int]]]:
    """Within the block, Beam's metrics are those of a bundle; yields a function that returns their values by name."""
    container = MetricsContainer("test")
    sampler = statesampler.StateSampler("test", CounterFactory())
    statesampler.set_current_tracker(sampler)

    def values() -> dict[str, int]:
        cells = {key.metric_name.name: cell.get_cumulative() for key, cell in container.metrics.items()}
        return {name: getattr(value, "value", value) for name, value in cells.items()}

    try:
        with sampler.scoped_state("step", "process", metrics_container=container):
            yield values
    finally:
        statesampler.set_current_tracker(None)


def test_only_what_is_new_is_added_to_beams_counters(totals: Totals) -> None:
    times = iter(range(0, 100, 10))
    metrics = BeamMetrics(totals, "buckets", clock=lambda: next(times))
    totals.measure(RECORDS, 5, ("clicks",))
    with in_bundle() as values:
        metrics.publish()
        totals.measure(RECORDS, 2, ("clicks",))
        metrics.publish()
        metrics.publish()
        assert values() == {"records_total__topic__clicks": 7}


def test_a_histogram_becomes_counters_of_whole_numbers(totals: Totals) -> None:
    totals.measure_all(STAGE_DURATION, np.array([0.0004, 0.02, 0.02, 70.0]), ("score", "wine", "3"))
    with in_bundle() as values:
        BeamMetrics(totals, "buckets").publish()
        found = values()
    labels = "__stage__score__model__wine__version__3"
    assert found == {
        f"stage_duration_seconds_count{labels}": 4,
        f"stage_duration_microseconds_sum{labels}": 70_040_400,
        **{
            f"stage_duration_seconds_bucket{labels}__le__{limit:g}": 1 for limit in (0.0005, 0.001, 0.0025, 0.005, 0.01)
        },
        **{
            f"stage_duration_seconds_bucket{labels}__le__{limit:g}": 3
            for limit in (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
        },
        f"stage_duration_seconds_bucket{labels}__le__inf": 4,
    }


def test_buckets_are_left_out_where_a_runner_limits_the_number_of_metrics(totals: Totals) -> None:
    totals.measure(BATCH_SIZE, 3, ("clicks",))
    with in_bundle() as values:
        BeamMetrics(totals, "sums").publish()
        assert values() == {"batch_size_count__topic__clicks": 1, "batch_size_sum__topic__clicks": 3}


def test_gauges_are_published_in_millionths_where_they_are_shares(totals: Totals) -> None:
    totals.replace(MODEL_SHARE, {("wine", "wine", "3", "new", "candidate"): 0.25})
    with in_bundle() as values:
        BeamMetrics(totals, "sums").publish()
        (value,) = values().values()
    assert value == 250_000


def test_nothing_is_published_for_a_runner_that_shows_it_to_nobody(totals: Totals) -> None:
    totals.measure(RECORDS, 5, ("clicks",))
    with in_bundle() as values:
        BeamMetrics(totals, "none").publish()
        assert values() == {}


def test_it_publishes_once_a_second(totals: Totals) -> None:
    now = [0.0]
    metrics = BeamMetrics(totals, "sums", clock=lambda: now[0])
    with in_bundle() as values:
        for moment in (0.0, 0.5, 0.9):
            now[0] = moment
            totals.measure(RECORDS, 1, ("clicks",))
            metrics.publish()
        assert values() == {"records_total__topic__clicks": 1}
        now[0] = 1.0
        metrics.publish()
        assert values() == {"records_total__topic__clicks": 3}


def test_the_step_that_reads_publishes_the_lag_and_no_other_step_does(totals: Totals) -> None:
    process = ProcessObservation(Observation(totals), "sums")
    totals.measure(CONSUMER_LAG, 12, ("clicks", "0"))
    totals.measure(RECORDS, 5, ("clicks",))
    with in_bundle() as reading:
        process.reading.publish()
        assert reading() == {"consumer_lag__topic__clicks__partition__0": 12}
    with in_bundle() as scoring:
        process.scoring.publish()
        assert scoring() == {"records_total__topic__clicks": 5}
    assert not set(READING) & set(SCORING)


def test_the_steps_of_a_process_share_one_observation_until_the_last_one_leaves() -> None:
    observing = Observing()
    first = observing.enter()
    assert observing.enter() is first
    observing.leave()
    assert observing.enter() is first
    observing.leave()
    observing.leave()
    other = observing.enter()
    observing.leave()
    assert other is not first
