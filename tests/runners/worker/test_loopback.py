"""The effects of tuning a worker process; in a separate process, because tuning changes Beam's classes."""

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
    """The results of a pipeline in its own process, which is tuned if the word is `tuned`."""
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


ORDER = """
import queue
import sys
from types import SimpleNamespace
from apache_beam.portability.api import beam_fn_api_pb2 as api
from apache_beam.runners.worker.data_plane import _GrpcDataChannel
from apache_beam.runners.worker.sdk_worker import SdkHarness
from runners.worker.loopback import tune_worker_process

class Noted:
    def put(self, element, *_):
        is_data = isinstance(element, tuple)
        print("response" if not is_data else "end" if element[0].is_last else "data")

    def get(self):
        queue.Queue().get()  # nothing comes: the channel's thread waits for ever

if "tuned" in sys.argv:
    tune_worker_process()
_GrpcDataChannel._start_send_forwarder = lambda channel: None
channel = _GrpcDataChannel()
channel._pending_send = Noted()

def bundle():
    stream = channel.output_stream("instruction", "transform")
    stream.write(b"element")
    stream.close()
    if "failing" in sys.argv:
        raise RuntimeError("the bundle fails")
    return api.InstructionResponse()

harness = SimpleNamespace(_responses=Noted())
SdkHarness._execute(harness, bundle, api.InstructionRequest(instruction_id="instruction"))
channel.output_stream("none", "transform").close()  # outside of an instruction nothing is held back
"""


def order(*words: str) -> list[str]:
    """The messages that leave a worker at the end of a bundle, in order."""
    done = subprocess.run([sys.executable, "-c", ORDER, *words], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.split()


def test_a_tuned_process_ends_the_outputs_of_a_bundle_behind_its_response() -> None:
    assert order("tuned") == order("tuned", "failing") == ["data", "response", "end", "end"]


def test_beam_by_itself_ends_them_before() -> None:
    assert order() == ["data", "end", "response", "end"]
