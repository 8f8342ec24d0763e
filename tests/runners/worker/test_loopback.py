"""What the tuning of a worker process leaves in place; in a process of its own, since it changes Beam's classes."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import apache_beam as beam
from apache_beam.metrics import Metrics, MetricsFilter
from apache_beam.options.pipeline_options import PipelineOptions
from runners.worker.loopback import tune_worker_process

class Count(beam.DoFn):
    def process(self, element):
        Metrics.counter("Count", "seen").inc()
        yield element

tune_worker_process()
pipeline = beam.Pipeline(runner="FnApiRunner", options=PipelineOptions([]))
pipeline | beam.Create([1, 2, 3]) | beam.ParDo(Count())
result = pipeline.run()
result.wait_until_finish()
(counter,) = result.metrics().query(MetricsFilter().with_name("seen"))["counters"]
print("seen", counter.committed)
"""


def test_counters_of_transforms_still_reach_the_runner() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120)
    assert "seen 3" in done.stdout, done.stderr[-2000:]
