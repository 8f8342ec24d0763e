"""`python -m benchmarks [FIGURE ...] [--runner R]`: measures figures, each with the function of the same name.

It starts a real broker and, for Flink, a cluster of its own.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from benchmarks.contenders.process import BEAM_SERVING, CONTENDERS, OBSERVED, Runner, contender
from benchmarks.contenders.topics import await_results, fill, make_topics, rate, read_results, results_reader
from benchmarks.contests.comparison import measure_types
from benchmarks.contests.served_calls import measure_served_calls
from benchmarks.in_process.observing import measure_observing
from benchmarks.in_process.routes import measure_routes
from benchmarks.in_process.stages import measure_stages
from benchmarks.recommender.model import PRODUCTS_A_RECORD, records
from benchmarks.steady.anatomy import anatomy
from benchmarks.steady.checkpoints import before_and_after
from benchmarks.steady.rollouts import fences, shadows
from benchmarks.steady.stream import median_and_late, print_latencies, steady_stream
from benchmarks.steady.updates import memory, swaps, update
from benchmarks.turns import Compared, in_turns
from models.kafka.client import KafkaSettings
from runners.flink.cluster import FlinkClusterSettings, LocalFlinkCluster
from runners.flink.rest import FlinkRest
from runners.local.kafka_broker import BrokerSettings, LocalBroker

_FIGURES = (
    "throughput",
    "latency",
    "anatomy",
    "checkpoints",
    "stages",
    "routes",
    "observing",
    "parts",
    "types",
    "shadows",
    "fences",
    "swaps",
    "update",
    "memory",
)
# The maximum numbers of records for the figures that are measured in this process alone.
_PROFILED, _ROUTED = 400_000, 100_000
# The turns of the figures that take only a moment, for each turn of the others.
_TYPE_TURNS = 3

# The broker's data is in memory if possible: a disk that other programs use stalls it for a second at a time.
_MEMORY = Path("/dev/shm")


def throughput(kafka: KafkaSettings, model: Path, runner: Runner, names: Sequence[str], turns: int, count: int) -> None:
    """The number of records per second while a full topic with one partition is scored to its end."""
    values = records(count)

    def measure(name: str) -> list[float]:
        topics = make_topics(kafka)
        fill(kafka, topics.records, values)
        with contender(name, kafka, topics, model, "earliest", runner):
            await_results(kafka, topics.results, count, 300.0)
        return [rate(read_results(results_reader(kafka, topics.results), count, 120.0))]

    figures = in_turns(names, turns, measure)
    flat = {name: [one[0] for one in values] for name, values in figures.items()}
    print("\n".join(Compared("throughput", "records/s", flat).table()), flush=True)
    predictions = {name: [one * PRODUCTS_A_RECORD for one in values] for name, values in flat.items()}
    print("\n".join(Compared("throughput", "predictions/s", predictions).table()), flush=True)


def latency(
    kafka: KafkaSettings, model: Path, runner: Runner, names: Sequence[str], turns: int, seconds: float
) -> None:
    """Milliseconds from when a record was due to its result's arrival at the broker, at 500 records per second."""

    def measure(name: str) -> list[float]:
        with steady_stream(name, kafka, make_topics(kafka), model, runner) as stream:
            stream.warm_up()
            return median_and_late(stream.read(seconds))

    print_latencies(in_turns(names, turns, measure))


def show_anatomy(kafka: KafkaSettings, model: Path, runner: Runner, folder: Path, turns: int, seconds: float) -> None:
    """The phases of a record's latency at 500 records per second, for beam-serving only."""
    for turn in range(turns):
        topics = make_topics(kafka)
        traces = folder / f"traces-{turn}"
        traces.mkdir()
        with steady_stream(BEAM_SERVING, kafka, topics, model, runner, traces) as stream:
            stream.warm_up()
            found = stream.read(seconds)
        sent = read_results(results_reader(kafka, topics.records), stream.records.sent, 30.0)
        print("\n".join(anatomy(sent, found, traces, topics.records).table()), flush=True)


def checkpoints(kafka: KafkaSettings, model: Path, runner: Runner, updates: int) -> None:
    """The size and duration of Flink's checkpoints at 500 records/s, before and after the models topic grew."""
    if runner.rest is None:
        print("(only on Flink: --runner FlinkRunner)")
        return
    topics = make_topics(kafka)
    fast = replace(runner, arguments=(*runner.arguments, "--checkpointing_interval=2000"))
    with steady_stream(BEAM_SERVING, kafka, topics, model, fast, distinct=1_000):
        before, after = before_and_after(runner.rest, kafka, topics, model, updates)
    print(f"a checkpoint before {updates} updates: {before}; after them: {after}", flush=True)


def stages(kafka: KafkaSettings, model: Path, count: int) -> None:
    """Microseconds of processor time per record, stage by stage."""
    print("\n".join(measure_stages(kafka, model, count).table()), flush=True)


def types(folder: Path, turns: int, only: Sequence[str]) -> None:
    """Rows per second of each type of model, beside the same model in its own framework."""
    models, server = folder / "types", folder / "server"
    models.mkdir()
    server.mkdir()
    for line in measure_types(models, _TYPE_TURNS * turns, only):
        print(line, flush=True)
    for line in () if only else measure_served_calls(server, _TYPE_TURNS * turns):
        print(line, flush=True)


@contextmanager
def runner_named(name: str, parallelism: int, folder: Path, options: Sequence[str]) -> Iterator[Runner]:
    """The runner of this name with further options; its cluster, if it needs one, lives as long as the context."""
    if name != "FlinkRunner":
        yield Runner(name, tuple(options))
        return
    with LocalFlinkCluster(FlinkClusterSettings(slots=parallelism, work_folder=folder)) as cluster:
        yield Runner(
            name,
            (
                f"--flink-master={cluster.rest_address}",
                f"--environment_config={cluster.worker_pool_address}",
                f"--parallelism={parallelism}",
                *options,
            ),
            FlinkRest(cluster.rest_address),
        )


def main() -> int:
    """Measures the given figures, or all of them."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Measures figures (see docs/performance.md)."
    )
    parser.add_argument(
        "what",
        nargs="*",
        choices=[*_FIGURES, []],
        default=[],
        metavar="FIGURE",
        help=f"the figures to measure, of {', '.join(_FIGURES)} (default: all)",
    )
    parser.add_argument("--turns", type=int, default=3, help="how often each contender is measured (default: 3)")
    parser.add_argument(
        "--count", type=int, default=1_500_000, help="records in a measurement of throughput (default: 1500000)"
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="length of a latency measurement (default: 60)")
    parser.add_argument("--updates", type=int, default=20, help="model updates in `update` (default: 20)")
    parser.add_argument("--swaps", type=int, default=1_000, help="model swaps in `memory` (default: 1000)")
    parser.add_argument(
        "--pointers",
        type=int,
        default=10_000,
        help="updates between the two measurements of `checkpoints` (default: 10000)",
    )
    parser.add_argument("--runner", choices=["DirectRunner", "FlinkRunner"], default="DirectRunner")
    parser.add_argument("--parallelism", type=int, default=1, help="parallelism on Flink (default: 1)")
    parser.add_argument(
        "--contender", action="append", choices=CONTENDERS, help="a contender to measure; may be given repeatedly"
    )
    parser.add_argument("--type", action="append", help="a model type for `types`; may be given repeatedly")
    parser.epilog = "All other options go to the runner, for example --max_bundle_time_mills=20."
    given, rest = parser.parse_known_args()
    names = given.contender or CONTENDERS
    folder = Path(tempfile.mkdtemp(prefix="beam-serving-bench-", dir=_MEMORY if _MEMORY.is_dir() else None))
    try:
        model = folder / "model"
        code = "import sys; from pathlib import Path; from benchmarks.recommender.model import save_model; "
        code += "save_model(Path(sys.argv[1]))"
        subprocess.run([sys.executable, "-c", code, str(model)], stderr=subprocess.DEVNULL, check=True)
        with (
            LocalBroker(BrokerSettings(work_folder=folder / "broker")) as broker,
            runner_named(given.runner, given.parallelism, folder / "flink", rest) as runner,
        ):
            kafka = KafkaSettings(broker.bootstrap_servers)
            steps: dict[str, Callable[[], None]] = {
                "throughput": lambda: throughput(kafka, model, runner, names, given.turns, given.count),
                "latency": lambda: latency(kafka, model, runner, names, given.turns, given.seconds),
                "anatomy": lambda: show_anatomy(kafka, model, runner, folder, given.turns, given.seconds),
                "checkpoints": lambda: checkpoints(kafka, model, runner, given.pointers),
                "stages": lambda: stages(kafka, model, min(given.count, _PROFILED)),
                "routes": lambda: print("\n".join(measure_routes(model, min(given.count, _ROUTED))), flush=True),
                "observing": lambda: print("\n".join(measure_observing(model, 3 * given.turns)), flush=True),
                "parts": lambda: throughput(kafka, model, runner, OBSERVED, given.turns, given.count),
                "types": lambda: types(folder, given.turns, given.type or ()),
                "shadows": lambda: shadows(kafka, model, runner, given.turns, given.seconds),
                "fences": lambda: fences(kafka, model, runner, given.seconds),
                "swaps": lambda: swaps(kafka, folder, runner, given.turns, given.seconds),
                "update": lambda: update(kafka, model, runner, given.updates),
                "memory": lambda: memory(kafka, model, runner, given.swaps),
            }
            for name in given.what or steps:
                print(f"{name}:", flush=True)
                steps[name]()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
