from __future__ import annotations

import apache_beam as beam
import pytest

from beam_pipeline.graph import build
from beam_pipeline.options import ServingOptions
from models.firing import Firing

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
    "CommitOffsets/Commit",
]


def names(firing: Firing) -> set[str]:
    pipeline = beam.Pipeline()
    build(pipeline, OPTIONS, firing, "run")
    return {one.unique_name for one in pipeline.to_runner_api().components.transforms.values()}


def test_the_graph_has_the_steps_of_the_page() -> None:
    there = names("default")
    assert [name for name in NAMES if not any(one.startswith(name) for one in there)] == []


@pytest.mark.parametrize("firing", ["default", "each"])
def test_only_the_firing_of_the_side_input_differs_between_runners(firing: Firing) -> None:
    fired = {name for name in names(firing) if "FireEach" in name}
    assert bool(fired) == (firing == "each")
    assert {name for name in names(firing) if "FireEach" not in name} == names("default")


def test_a_firing_replaces_the_one_before_where_each_counts() -> None:
    pipeline = beam.Pipeline()
    build(pipeline, OPTIONS, "each", "run")
    strategies = pipeline.to_runner_api().components.windowing_strategies.values()
    fired = [one for one in strategies if one.trigger.HasField("repeat")]
    assert fired
    assert all(one.trigger.repeat.subtrigger.element_count.element_count == 1 for one in fired)
    assert all(one.accumulation_mode == 1 for one in fired)  # DISCARDING
