from __future__ import annotations

from dataclasses import replace

import pytest

from models.model_topic.descriptor import ModelDescriptor
from models.model_topic.publisher import ListedVersion
from models.status.events import ArmShare, EventKind, ModelStatistics, StatusEvent, WorkerState
from models.status.model_status import StatusFold

LISTED = ListedVersion(ModelDescriptor("wine", "t", 1, "good", model_source_location="/m"), 0, False, "live")
FIGURES = ModelStatistics("wine", 1, "good", since=1_000, usage=10, errors=1, calls=2, average=3, minimum=1, maximum=5)


def event(
    kind: EventKind,
    at: int,
    worker: str = "a",
    figures: ModelStatistics | None = None,
    error: str | None = None,
    deployment: str = "",
) -> bytes:
    return StatusEvent(kind, at, worker, "wine", 1, "wine", error, figures, deployment).to_json()


def test_a_version_without_a_report_has_the_state_of_the_topic() -> None:
    (status,) = StatusFold().statuses([LISTED])
    assert (status.state, status.usage, status.since) == ("live", 0, None)


def test_the_figures_of_all_workers_are_added() -> None:
    fold = StatusFold()
    fold.add(event("serving", 1, "a", FIGURES))
    fold.add(event("statistics", 2, "b", replace(FIGURES, since=500, calls=6, average=7, minimum=0.5)))
    (status,) = fold.statuses([LISTED])
    assert (status.state, status.usage, status.errors, status.since) == ("serving", 20, 2, 500)
    assert (status.average, status.minimum, status.maximum) == (6.0, 0.5, 5)


def test_newer_figures_of_a_worker_replace_its_older_ones() -> None:
    fold = StatusFold()
    fold.add(event("serving", 1, "a", FIGURES))
    fold.add(event("statistics", 2, "a", replace(FIGURES, usage=30)))
    assert fold.statuses([LISTED])[0].usage == 30


def test_what_a_version_did_before_it_was_released_stays_counted_when_it_serves_again() -> None:
    fold = StatusFold()
    fold.add(event("released", 1, "a", FIGURES))
    fold.add(event("serving", 2, "a", replace(FIGURES, since=2_000, usage=5)))
    assert fold.statuses([LISTED])[0].usage == 15


def test_a_failed_load_is_reported_with_its_error_until_the_version_serves() -> None:
    fold = StatusFold()
    fold.add(event("failed", 1, error="broken"))
    assert (fold.statuses([LISTED])[0].state, fold.statuses([LISTED])[0].last_error) == ("failed", "broken")
    fold.add(event("serving", 2))
    assert (fold.statuses([LISTED])[0].state, fold.statuses([LISTED])[0].last_error) == ("serving", None)


def test_what_is_no_event_is_passed_over() -> None:
    fold = StatusFold()
    for message in (b"", b"garbage", b"[1]", b"{}", b'{"kind": "serving"}'):
        fold.add(message)
    assert fold.statuses([LISTED])[0].state == "live"


def two_deployments(only: str | None = None) -> StatusFold:
    """Two deployments, one of which fails to load what the other one serves; each has a worker with the same name."""
    fold = StatusFold(only)
    fold.add(event("serving", 1, figures=FIGURES, deployment="payments"))
    fold.add(event("failed", 2, error="no such field", deployment="search"))
    return fold


def test_deployments_do_not_mark_each_others_models_as_failed() -> None:
    found = [(one.deployment, one.state, one.usage, one.last_error) for one in two_deployments().statuses([LISTED])]
    assert found == [("payments", "serving", 10, None), ("search", "failed", 0, "no such field")]


def test_the_status_of_one_deployment() -> None:
    (status,) = two_deployments("payments").statuses([LISTED])
    assert (status.deployment, status.state) == ("payments", "serving")
    (status,) = two_deployments("other").statuses([LISTED])
    assert (status.deployment, status.state) == ("other", "live")


def test_a_worker_that_stopped_following_is_named_until_it_loads_again() -> None:
    fold = StatusFold()
    fold.add(StatusEvent("stopped", 1, "a", error="two partitions", deployment="g").to_json())
    fold.add(event("serving", 2, worker="b", deployment="g"))
    assert [(one.worker, one.error) for one in fold.stopped()] == [("a", "two partitions")]
    fold.add(event("loading", 3, worker="a", deployment="g"))
    assert fold.stopped() == []


def test_statistics_alone_mean_that_a_version_serves() -> None:
    fold = StatusFold()
    fold.add(event("statistics", 1, "a", FIGURES))
    (status,) = fold.statuses([LISTED])
    assert (status.state, status.workers) == ("serving", 1)


def test_percentiles_are_those_of_the_calls_of_all_workers() -> None:
    fold = StatusFold()
    fold.add(event("serving", 1, "a", replace(FIGURES, durations={"0": 98})))
    fold.add(event("serving", 1, "b", replace(FIGURES, durations={"80": 2})))
    (status,) = fold.statuses([LISTED])
    assert status.p50 == pytest.approx(1.0, rel=0.05)
    assert status.p99 == pytest.approx(1024.0, rel=0.05)


def test_a_version_has_the_arms_of_the_workers_that_serve_it() -> None:
    live, shadow = ArmShare("wine", "live", "serve", 0.9), ArmShare("wine", "s", "shadow", 1.0)
    fold = StatusFold()
    fold.add(event("serving", 1, "a", replace(FIGURES, arms=(shadow,))))
    fold.add(event("statistics", 2, "a", replace(FIGURES, arms=(live,))))
    fold.add(event("released", 3, "b", replace(FIGURES, arms=(shadow,))))
    assert fold.statuses([LISTED])[0].arms == (live,)


def worker_event(at: int, position: int, *waiting: str, worker: str = "a", topic_id: str = "id") -> bytes:
    state = WorkerState(position, topic_id, waiting, 5)
    return StatusEvent("worker", at, worker, deployment="d", state=state).to_json()


@pytest.mark.parametrize(
    ("position", "waiting", "topic_id", "now", "lag", "attention"),
    [
        (10, (), "id", 2_000, 0, False),
        (7, (), "id", 2_000, 3, True),
        (10, ("wine/2",), "id", 2_000, 0, True),
        (10, (), "other", 2_000, None, True),
        (10, (), "id", 40_000, 0, True),
    ],
)
def test_a_worker_that_does_not_serve_what_it_should_needs_attention(
    position: int, waiting: tuple[str, ...], topic_id: str, now: int, lag: int | None, attention: bool
) -> None:
    fold = StatusFold()
    fold.add(worker_event(1_000, position, *waiting, topic_id=topic_id))
    (worker,) = fold.workers(10, "id", now)
    assert (worker.worker, worker.deployment, worker.seen, worker.memory) == ("a", "d", 1_000, 5)
    assert (worker.lag, worker.waiting, worker.needs_attention(now)) == (lag, waiting, attention)


def test_a_worker_that_stopped_following_needs_attention_and_one_of_long_ago_is_left_out() -> None:
    fold = StatusFold()
    fold.add(worker_event(0, 10, worker="old"))
    fold.add(worker_event(3_600_000, 10))
    fold.add(StatusEvent("stopped", 3_600_001, "a", error="two partitions", deployment="d").to_json())
    (worker,) = fold.workers(10, "id", 3_600_002)
    assert (worker.stopped, worker.needs_attention(3_600_002)) == ("two partitions", True)
