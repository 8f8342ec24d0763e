from __future__ import annotations

import apache_beam as beam
import pytest
from apache_beam.internal import pickler
from apache_beam.portability.api import beam_runner_api_pb2

from beam_pipeline.graph import build
from beam_pipeline.options import ServingOptions
from models.runner_facts import Firing, Frontiers

OPTIONS = ServingOptions("localhost:1", "records", "models", "results", "letters", "wine")

# A running job is updated by the names of its transforms: a change here is a change that jobs notice.
NAMES = [
    "Records/Topic",
    "Records/FindPartitions",
    "Records/ReadPartitions",
    "Models/Read/Topic",
    "Models/Read/FindPartitions",
    "Models/Read/ReadPartitions",
    "Models/Check",
    "Spread",
    "Score/Score",
    "WriteResults/Produce",
    "WriteRejected/Produce",
    "Acknowledged",
]
COMMITS = {"CommitOffsets", "CommitOffsets/ByPartition", "CommitOffsets/Join", "CommitOffsets/Commit"}

VIEW = ("Score/NoPosition", "Score/Positions", "Score/FireEach")


def names(firing: Firing, frontiers: Frontiers = "process") -> set[str]:
    pipeline = beam.Pipeline()
    build(pipeline, OPTIONS, firing, frontiers)
    return {one.unique_name for one in pipeline.to_runner_api().components.transforms.values()}


def test_the_graph_has_the_steps_of_the_page() -> None:
    there = names("default")
    assert [name for name in NAMES if not any(one.startswith(name) for one in there)] == []


@pytest.mark.parametrize("firing", ["default", "each"])
def test_only_the_firing_of_the_side_input_differs_between_runners(firing: Firing) -> None:
    fired = names(firing) - names("default")
    assert bool(fired) == (firing == "each")
    assert all(name.startswith(VIEW) for name in fired)


def test_offsets_are_committed_behind_keyed_state_where_there_are_several_workers() -> None:
    added = names("default", "state") - names("default")
    assert {name.partition("(")[0] for name in added} == COMMITS


@pytest.mark.parametrize("frontiers", ["process", "state"])
def test_the_sinks_commit_where_there_is_one_worker_process(frontiers: Frontiers) -> None:
    pipeline = beam.Pipeline()
    build(pipeline, OPTIONS, "default", frontiers)
    steps = pipeline.to_runner_api().components.transforms.values()
    produce = [one for one in steps if one.unique_name in ("WriteResults/Produce", "WriteRejected/Produce")]
    payloads = [beam_runner_api_pb2.ParDoPayload.FromString(one.spec.payload) for one in produce]
    sinks = [pickler.loads(payload.do_fn.payload)[0] for payload in payloads]
    assert len(sinks) == 2
    assert all((sink._offsets is not None) == (frontiers == "process") for sink in sinks)


def test_a_firing_replaces_the_one_before_where_each_counts() -> None:
    pipeline = beam.Pipeline()
    build(pipeline, OPTIONS, "each", "state")
    strategies = pipeline.to_runner_api().components.windowing_strategies.values()
    fired = [one for one in strategies if one.trigger.HasField("repeat")]
    assert fired
    assert all(one.trigger.repeat.subtrigger.element_count.element_count == 1 for one in fired)
    assert all(one.accumulation_mode == 1 for one in fired)  # DISCARDING
