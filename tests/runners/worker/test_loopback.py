"""What the tuning of a worker process leaves in place; in a process of its own, since it changes Beam's classes."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

PROGRAM = """
import json
import sys
import threading
import apache_beam as beam
from apache_beam.metrics import Metrics, MetricsFilter
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.worker.bundle_processor import BundleProcessor
from runners.worker.loopback import tune_worker_process

class Count(beam.DoFn):
    def process(self, element):
        Metrics.counter("Count", "seen").inc()
        # A sampler's thread has that method of Beam's as its target.
        if any("StateSampler" in repr(getattr(thread, "_target", None)) for thread in threading.enumerate()):
            print("sampled")
        yield element

reported = set()
if "tuned" in sys.argv:
    tune_worker_process()
report = BundleProcessor.monitoring_infos

def noting(processor):
    infos = report(processor)
    reported.update(info.urn for info in infos)
    return infos

BundleProcessor.monitoring_infos = noting
pipeline = beam.Pipeline(runner="FnApiRunner", options=PipelineOptions([]))
pipeline | beam.Create([1, 2, 3]) | beam.ParDo(Count())
result = pipeline.run()
result.wait_until_finish()
(counter,) = result.metrics().query(MetricsFilter().with_name("seen"))["counters"]
print(json.dumps({"seen": counter.committed, "reported": sorted(reported)}))
"""
COUNTER = "beam:metric:user:sum_int64:v1"


def run(*words: str) -> dict[str, Any]:
    """What a pipeline did in a process of its own; with the word `tuned`, in a tuned one."""
    done = subprocess.run([sys.executable, "-c", PROGRAM, *words], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    *before, last = done.stdout.splitlines()
    return {**json.loads(last), "sampled": "sampled" in before}


def test_a_tuned_process_samples_nothing_and_reports_only_what_transforms_count() -> None:
    assert run("tuned") == {"seen": 3, "sampled": False, "reported": [COUNTER]}


def test_beam_by_itself_samples_in_threads_and_reports_more() -> None:
    told = run()
    assert told["seen"] == 3
    assert told["sampled"]
    assert {COUNTER, "beam:metric:element_count:v1"} < set(told["reported"])
