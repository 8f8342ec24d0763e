"""What a bundle on Prism pays for a side input of many positions."""

from __future__ import annotations

import statistics
import time
import uuid
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
from tests.transforms import side_input_timing
from tests.transforms.side_input_timing import TimeSideInput
from transforms.kafka_source import Pace, ReadFromKafka

BUNDLES = 100


@pytest.mark.slow
# A cancelled pipeline's worker threads, which live in this process, end with an error of their connection.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_ten_thousand_positions_cost_a_bundle_little(
    broker: LocalBroker, prism_location: Path, make_topic: MakeTopic, topic_names: Callable[[str], str]
) -> None:
    costs = {}
    for count in (1, 10_000):
        topic = make_topic(topic_names("side-input"))
        costs[count] = statistics.mean(_timings(KafkaSettings(broker.bootstrap_servers), topic, prism_location, count))
    print(f"\nside input: {costs[1] * 1000:.2f} ms for 1 position, {costs[10_000] * 1000:.2f} ms for 10,000")
    # At most 1 ms is the aim, which a shared machine may miss by its noise; decoding each time would cost 1.35 ms.
    assert costs[10_000] - costs[1] < 0.005


def _timings(kafka: KafkaSettings, topic: str, prism: Path, count: int) -> list[float]:
    side_input_timing.SECONDS.clear()
    options = PipelineOptions(list(plan_runner("DirectRunner", [f"--prism_location={prism}"]).arguments))
    run_id = uuid.uuid4().hex
    pipeline = beam.Pipeline(options=options)
    positions = pipeline | "Positions" >> beam.Create(range(count), reshuffle=False)
    # Heartbeats are elements enough: each is a bundle of its own.
    pace = Pace(idle_seconds=0.03, heartbeat_seconds=0.01)
    batches = pipeline | ReadFromKafka(topic, ReadSettings(kafka, "timing"), pace, run_id) | beam.Reshuffle()
    timed = batches | beam.ParDo(TimeSideInput(), beam.pvalue.AsIter(positions)).with_output_types(int)
    timed | "End" >> beam.Reshuffle()
    result = pipeline.run()
    try:
        deadline = time.monotonic() + 60
        while len(side_input_timing.SECONDS) < BUNDLES:
            assert time.monotonic() < deadline, f"only {len(side_input_timing.SECONDS)} bundles"
            time.sleep(0.05)
    finally:
        result.cancel()
    return side_input_timing.SECONDS[10:]
