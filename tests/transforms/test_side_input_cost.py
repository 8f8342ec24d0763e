"""The cost for a bundle on Prism of a side input with many positions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from models.kafka.client import KafkaSettings
from models.kafka.partition_reader import ReadSettings
from runners.local.kafka_broker import LocalBroker
from runners.plan import plan_runner
from tests.conftest import MakeTopic
from tests.transforms.bundles import eventually
from tests.transforms.side_input_cost import BUNDLES_A_LOOK, CountDecoding, Position, positions
from transforms.kafka_source import Pace, ReadFromKafka

BUNDLES = 100
COUNT = 1_000


@pytest.mark.slow
# A cancelled pipeline's worker threads, which live in this process, end with an error of their connection.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_side_input_is_decoded_by_few_of_the_bundles(
    broker: LocalBroker, prism_location: Path, make_topic: MakeTopic, topic_names: Callable[[str], str]
) -> None:
    topic = make_topic(topic_names("side-input"))
    costs = _costs(KafkaSettings(broker.bootstrap_servers), topic, prism_location)
    assert CountDecoding.newest[-1] == {"id": COUNT - 1}
    # That it costs all of them to look is what makes it worth the while to look seldom: the count can fail.
    assert set(costs) == {0, COUNT}
    # Each instance of the DoFn looks at its own pace, and at its first bundle.
    looks = costs.count(COUNT)
    assert len(costs) / BUNDLES_A_LOOK <= looks <= 2 * len(costs) / BUNDLES_A_LOOK


def _costs(kafka: KafkaSettings, topic: str, prism: Path) -> list[int]:
    CountDecoding.costs.clear()
    options = PipelineOptions(list(plan_runner("DirectRunner", [f"--prism_location={prism}"]).arguments))
    pipeline = beam.Pipeline(options=options)
    many = pipeline | beam.Impulse() | beam.FlatMap(positions, COUNT).with_output_types(Position)
    # Heartbeats are elements enough: each is a bundle of its own.
    pace = Pace(idle_seconds=0.03, heartbeat_seconds=0.01)
    batches = pipeline | ReadFromKafka([topic], ReadSettings(kafka, "timing"), pace) | beam.Reshuffle()
    counted = batches | beam.ParDo(CountDecoding(), beam.pvalue.AsIter(many)).with_output_types(int)
    counted | "End" >> beam.Reshuffle()
    result = pipeline.run()
    try:
        eventually(lambda: len(CountDecoding.costs) >= BUNDLES, 60.0)
    finally:
        result.cancel()
    return list(CountDecoding.costs)
