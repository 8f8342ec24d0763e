"""Our fixes of Beam, on a real cluster: without them checkpoints fail and bundles last, with them neither."""

from __future__ import annotations

import statistics
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.transforms.periodicsequence import PeriodicImpulse
from apache_beam.transforms.trigger import AccumulationMode, AfterCount, Repeatedly
from apache_beam.transforms.window import GlobalWindows
from apache_beam.utils.timestamp import Timestamp

from runners.flink.cluster import FlinkClusterError, FlinkClusterSettings, LocalFlinkCluster
from runners.flink.jars import job_server_jar
from runners.flink.options import FlinkServingOptions
from runners.flink.rest import FlinkRest

PATIENCE_SECONDS = 90.0
CHECKPOINT_MILLISECONDS = 500
CAUSE = "java.lang.ClassCastException: class [B cannot be cast to class org.apache.beam.sdk.values.WindowedValue"


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalFlinkCluster]:
    with LocalFlinkCluster(FlinkClusterSettings(slots=1)) as running:
        yield running


@contextmanager
def job_with_side_input(cluster: LocalFlinkCluster, jar: str) -> Iterator[tuple[FlinkRest, str]]:
    """Runs a streaming job with a streaming side input for the block; gives where to ask about it."""
    with running_job(cluster, jar, build, "--max_bundle_time_mills=20") as asked:
        yield asked


@contextmanager
def running_job(
    cluster: LocalFlinkCluster, jar: str, build: Callable[[beam.Pipeline], None], *arguments: str
) -> Iterator[tuple[FlinkRest, str]]:
    """Runs a streaming job for the block; gives where to ask about it."""
    name = f"fixes-{uuid.uuid4().hex[:8]}"
    options = FlinkServingOptions(
        [
            "--runner=FlinkRunner",
            "--streaming",
            "--flink_submit_uber_jar",
            f"--flink_master=http://{cluster.rest_address}",
            f"--flink_job_server_jar={jar}",
            "--flink_version=1.19",
            "--environment_type=EXTERNAL",
            f"--environment_config={cluster.worker_pool_address}",
            f"--checkpointing_interval={CHECKPOINT_MILLISECONDS}",
            f"--job_name={name}",
            *arguments,
        ]
    )
    pipeline = beam.Pipeline(options=options)
    build(pipeline)
    pipeline.run()
    rest = FlinkRest(cluster.rest_address)
    job = rest.job_named(name)
    assert job is not None
    try:
        yield rest, job
    finally:
        rest.cancel(job)
        wait_until(lambda: rest.job_state(job) == "CANCELED", lambda: rest.job_state(job))
        # A worker may outlive a job that is cancelled while it restarts, and the next job must not meet it.
        with suppress(FlinkClusterError):
            while cluster.worker_processes():
                cluster.kill_worker()


def build(pipeline: beam.Pipeline) -> None:
    """As little as makes a checkpoint hold a side input: each update is a firing of its own."""
    now = Timestamp.now()
    updates = (
        pipeline
        | "Updates" >> PeriodicImpulse(start_timestamp=now, fire_interval=0.2)
        | "Each"
        >> beam.WindowInto(
            GlobalWindows(), trigger=Repeatedly(AfterCount(1)), accumulation_mode=AccumulationMode.DISCARDING
        )
    )
    (
        pipeline
        | "Records" >> PeriodicImpulse(start_timestamp=now, fire_interval=0.1)
        | "Join" >> beam.Map(lambda record, newest: (record, list(newest)), newest=beam.pvalue.AsIter(updates))
    )


def write_ages(folder: Path) -> Callable[[beam.Pipeline], None]:
    """A pipeline of two stages; the second one writes how many seconds ago each element was due."""

    def write(due: float) -> None:
        with (folder / "ages").open("a", encoding="utf-8") as file:
            file.write(f"{time.time() - due}\n")

    def build(pipeline: beam.Pipeline) -> None:
        (
            pipeline
            | PeriodicImpulse(start_timestamp=Timestamp.now(), fire_interval=0.1)
            | beam.Map(float)
            | beam.Reshuffle()
            | beam.Map(write)
        )

    return build


def ages(folder: Path) -> list[float]:
    path = folder / "ages"
    return [float(line) for line in path.read_text().splitlines()] if path.exists() else []


def wait_until(condition: Callable[[], bool], seen: Callable[[], Any]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, seen()
        time.sleep(0.1)


def checkpoints(rest: FlinkRest, job: str) -> dict[str, int]:
    counts: dict[str, int] = rest.ask("GET", f"jobs/{job}/checkpoints")["counts"]
    return counts


def state_sizes(rest: FlinkRest, job: str) -> list[int]:
    """Bytes of the last ten completed checkpoints, the newest first."""
    history = rest.ask("GET", f"jobs/{job}/checkpoints")["history"]
    return [one["state_size"] for one in history if one["status"] == "COMPLETED"][:10]


def last_failure(rest: FlinkRest, job: str) -> str:
    """Why the job began anew last; empty when it never did."""
    entries = rest.ask("GET", f"jobs/{job}/exceptions").get("exceptionHistory", {}).get("entries", [])
    return str(entries[0]["stacktrace"]) if entries else ""


def logged(cluster: LocalFlinkCluster) -> str:
    return "".join(path.read_text(errors="replace") for path in cluster.log_folder.glob("task-manager-*.log"))


@pytest.mark.slow
def test_without_the_fixes_checkpoints_fail(cluster: LocalFlinkCluster) -> None:
    with job_with_side_input(cluster, job_server_jar(beam_fixes=False)) as (rest, job):
        wait_until(lambda: CAUSE in logged(cluster), lambda: checkpoints(rest, job))
        # A failed checkpoint makes the job restart from the beginning.
        wait_until(lambda: "checkpoint" in last_failure(rest, job), lambda: last_failure(rest, job))
        assert checkpoints(rest, job)["failed"] > 0


@pytest.mark.slow
def test_with_the_fixes_checkpoints_complete_stay_small_and_are_restored(cluster: LocalFlinkCluster) -> None:
    said_before = len(logged(cluster))
    with job_with_side_input(cluster, job_server_jar()) as (rest, job):
        # Those that are due before all tasks run count as failed, with and without the fix.
        wait_until(lambda: checkpoints(rest, job)["completed"] > 0, lambda: checkpoints(rest, job))
        first = checkpoints(rest, job)
        wait_until(lambda: checkpoints(rest, job)["completed"] >= 6, lambda: checkpoints(rest, job))
        assert checkpoints(rest, job)["failed"] == first["failed"]
        assert any(cluster.checkpoint_folder.rglob("_metadata"))

        killed = cluster.kill_worker()
        wait_until(lambda: checkpoints(rest, job)["restored"] > 0, lambda: last_failure(rest, job))
        goal = checkpoints(rest, job)["completed"] + 15
        wait_until(lambda: checkpoints(rest, job)["completed"] >= goal, lambda: checkpoints(rest, job))
        # Both sources pause many times between two checkpoints: what waits meanwhile must not stay in the state.
        sizes = state_sizes(rest, job)
        assert max(sizes) < 1.2 * min(sizes), sizes
        assert killed not in cluster.worker_processes()
        assert "ClassCastException" not in logged(cluster)[said_before:]


@pytest.mark.slow
def test_with_the_fixes_a_bundle_does_not_wait_for_its_longest_time(cluster: LocalFlinkCluster, tmp_path: Path) -> None:
    with running_job(cluster, job_server_jar(), write_ages(tmp_path), "--max_bundle_time_mills=60000"):
        # The first ones wait for the worker's start, and on a busy machine those behind them, too. Without the fix each
        # bundle would last a minute, and ten seconds of elements would always be old.
        wait_until(
            lambda: len(ages(tmp_path)) >= 200 and statistics.median(ages(tmp_path)[-100:]) < 2.0,
            lambda: ages(tmp_path)[-100:],
        )
