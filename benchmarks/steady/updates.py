"""The cost of model updates: their own latency, and the latency of records and the memory while models are swapped."""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path

import psutil
from confluent_kafka import Consumer

from benchmarks.contenders.process import BEAM_SERVING, WARM_SECONDS, Runner, publish
from benchmarks.contenders.topics import Topics, make_topics, read_results
from benchmarks.steady.stream import SteadyStream, median_and_late, print_latencies, steady_stream
from benchmarks.turns import in_turns
from models.kafka.client import KafkaSettings
from models.records.record_type import RecordType
from models.results.decoder import ResultDecoder

_NO_SWAPS, _SWAPS = "no swaps", "swaps"
_SWAP_SECONDS, _SETTLE_SECONDS = 10.0, 3.0


_NO_SWAPS, _SWAPS = "no swaps", "swaps"
_SWAP_SECONDS, _SETTLE_SECONDS = 10.0, 3.0


def update(kafka: KafkaSettings, model: Path, runner: Runner, updates: int) -> None:
    """The time from a publication to its first result, at 500 records per second.

    It is compared with the load alone: the same loader and model, in a process without other work.
    """
    topics = make_topics(kafka)
    decoder = ResultDecoder(RecordType.named("recommender").codec.embedding)
    waits = []
    with steady_stream(BEAM_SERVING, kafka, topics, model, runner, distinct=1_000) as stream:
        for _ in range(updates):
            version = publish(kafka, topics, model).model_version
            published = time.time()
            waits.append(1000 * (_first_result(stream.results, decoder, version) - published))
            time.sleep(1.0)
    loads = [1000 * seconds for seconds in _loads_alone(model, 10)]
    wait, load = statistics.median(waits), statistics.median(loads)
    print(f"from a publication to the first record scored by it: median {wait:.0f} ms, worst {max(waits):.0f} ms")
    print(
        f"the load alone: median {load:.0f} ms; beyond it: median {wait - load:.0f} ms ({updates} updates)", flush=True
    )


def swaps(kafka: KafkaSettings, folder: Path, runner: Runner, turns: int, seconds: float) -> None:
    """The latency at 500 records/s without swaps, and while models of 1, 100 and 500 MB are swapped every 10 s.

    Both are measured on the same pipeline, in turns, because two runs of one pipeline differ by more than swaps cost.
    """
    for megabytes in (1, 100, 500):
        model = folder / f"swapped-{megabytes}"
        code = (
            "import sys, pathlib; from benchmarks.recommender.model import save_model; "
            "save_model(pathlib.Path(sys.argv[1]), megabytes=int(sys.argv[2]))"
        )
        subprocess.run([sys.executable, "-c", code, str(model), str(megabytes)], stderr=subprocess.DEVNULL, check=True)
        topics = make_topics(kafka)
        with steady_stream(BEAM_SERVING, kafka, topics, model, runner) as stream:
            stream.warm_up()
            print(f"  models of {megabytes} MB", flush=True)
            swapping = partial(_swapping, kafka, topics, model)
            print_latencies(in_turns((_NO_SWAPS, _SWAPS), turns, partial(_latency, stream, swapping, seconds)))
        shutil.rmtree(model)


def _latency(
    stream: SteadyStream, swapping: Callable[[], AbstractContextManager[None]], seconds: float, name: str
) -> list[float]:
    stream.read(_SETTLE_SECONDS)  # the last swap of the turn before may not be over
    with swapping() if name == _SWAPS else nullcontext():
        return median_and_late(stream.read(seconds))


@contextmanager
def _swapping(kafka: KafkaSettings, topics: Topics, model: Path) -> Iterator[None]:
    """Publishes the model again every 10 s."""
    stopped = threading.Event()

    def publish_again() -> None:
        while not stopped.wait(_SWAP_SECONDS):
            publish(kafka, topics, model)

    thread = threading.Thread(target=publish_again)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


def memory(kafka: KafkaSettings, model: Path, runner: Runner, swaps: int) -> None:
    """The memory of the pipeline's processes on this machine at 500 records/s, while models are swapped.

    Each publication waits for the first result of the previous one, so that every version is loaded and serves.
    """
    topics = make_topics(kafka)
    decoder = ResultDecoder(RecordType.named("recommender").codec.embedding)
    with steady_stream(BEAM_SERVING, kafka, topics, model, runner, distinct=1_000) as stream:
        time.sleep(WARM_SECONDS)
        for number in range(swaps + 1):
            if number % max(1, swaps // 10) == 0:
                print(f"  after {number:5} swaps: {_megabytes(stream.process.pid)}", flush=True)
            _first_result(stream.results, decoder, publish(kafka, topics, model).model_version)


def _megabytes(pid: int) -> str:
    """The resident memory of a process and of each of its descendants; on the DirectRunner, that is Prism."""
    process = psutil.Process(pid)
    every = (process, *process.children(recursive=True))
    return ", ".join(f"{one.name()} {one.memory_info().rss / 1e6:.1f} MB" for one in every)


def _first_result(reader: Consumer, decoder: ResultDecoder, version: int) -> float:
    while True:
        for message in read_results(reader, 1, 60.0):
            metadata = decoder.decode(message.value() or b"")["modelResultMetadata"]
            if metadata["modelVersion"] == version:
                return float(message.timestamp()[1]) / 1000


def _loads_alone(model: Path, count: int) -> list[float]:
    code = (
        "import sys, time; from benchmarks.recommender.loading import load_once; load_once(sys.argv[1])\n"
        "for _ in range(int(sys.argv[2])):\n"
        "    start = time.perf_counter(); load_once(sys.argv[1]); print(time.perf_counter() - start)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(model), str(count)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    return [float(line) for line in done.stdout.split()]
