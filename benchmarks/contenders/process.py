"""Starts and ends the process of a contender."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from benchmarks.contenders.topics import Topics
from benchmarks.contenders.traced import FOLDER
from benchmarks.recommender.model import INPUTS
from models.artifacts.digest import digest_of_path
from models.kafka.client import KafkaSettings
from models.model_topic.descriptor import ModelDescriptor
from models.model_topic.publisher import ModelPublisher
from runners.flink.rest import FlinkRest

BEAM_SERVING, BARE_LOOP, WAITING_LOOP, RUN_INFERENCE = "beam-serving", "bare loop", "waiting loop", "RunInference"
START_SECONDS = 90.0
WARM_SECONDS = 15.0  # until every contender has compiled the code that it compiles at first use

CONTENDERS = (BARE_LOOP, BEAM_SERVING, WAITING_LOOP, RUN_INFERENCE)
# Without any measurement, with those of every deployment, and with every part that observes, at its defaults or, where
# the default is none, at the share that the documentation shows. Traces need a collector, and are not among them.
UNOBSERVED, EVERY_PART = "unobserved", "every part"
OBSERVED = (UNOBSERVED, BEAM_SERVING, EVERY_PART)
_MODULES = {UNOBSERVED: "benchmarks.contenders.unobserved"}
_PARTS = {
    "metrics-port": "0",
    "status-topic": "{}-status",
    "outliers": "on",
    "drift-topic": "{}-drift",
    "payload-topic": "{}-payloads",
    "payload-share": "0.01",
    "explain-topic": "{}-explanations",
    "explain-share": "0.001",
}


@dataclass(frozen=True)
class Runner:
    """The runner of the contenders that use Beam.

    Attributes:
      name: the name, as for `beam-serving run --runner`.
      arguments: the runner's options.
      rest: the REST API of the Flink cluster; None for another runner.
    """

    name: str = "DirectRunner"
    arguments: tuple[str, ...] = ()
    rest: FlinkRest | None = None


@contextmanager
def contender(
    name: str,
    kafka: KafkaSettings,
    topics: Topics,
    model: Path,
    start: str,
    runner: Runner,
    traces: Path | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """Runs a contender from `start` (earliest or latest) for as long as the context lasts, and yields its process.

    If a folder for traces is given, beam-serving writes to it when each batch passes its steps.
    """
    if name in OBSERVED:
        publish(kafka, topics, model)
    with tempfile.TemporaryFile() as log:
        command = _command(name, kafka, topics, model, start, runner)
        environment = dict(os.environ)
        if traces is not None:
            command[command.index("beam_pipeline")] = "benchmarks.contenders.traced"
            environment[FOLDER] = str(traces)
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        try:
            yield process
            if process.poll() is not None:
                log.seek(0)
                raise RuntimeError(f"{name} ended by itself:\n{log.read().decode(errors='replace')[-4000:]}")
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20.0)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


# A publisher usually works on another machine, so that hashing a large model again and again would burden the
# contender for no reason.
_digest_of = cache(digest_of_path)


def publish(kafka: KafkaSettings, topics: Topics, model: Path, live: bool = True) -> ModelDescriptor:
    """Publishes the model by its location; if not live, it is not used until a route names it."""
    descriptor = ModelDescriptor(
        "recommender",
        "tensorflow-saved-model",
        model_source_location=str(model),
        inputs=INPUTS,
        digest=_digest_of(model),
    )
    return ModelPublisher(kafka, topics.models).publish(descriptor, live)


def _command(name: str, kafka: KafkaSettings, topics: Topics, model: Path, start: str, runner: Runner) -> list[str]:
    servers = kafka.bootstrap_servers
    described = [servers, topics.records, topics.results, str(model), start]
    if name in (BARE_LOOP, WAITING_LOOP):
        habits = "strong" if name == BARE_LOOP else "waiting"
        return [sys.executable, "-m", "benchmarks.contenders.bare_loop", *described, habits]
    if name == RUN_INFERENCE:
        return [sys.executable, "-m", "benchmarks.contenders.run_inference", *described, runner.name, *runner.arguments]
    options = {
        "bootstrap-servers": servers,
        "records-topic": topics.records,
        "models-topic": topics.models,
        "results-topic": topics.results,
        "dead-letter-topic": f"{topics.results}-dead-letters",
        "record-schema": "recommender",
        "group": f"group-{topics.records}",
        "start": start,
        "runner": runner.name,
    }
    if name == EVERY_PART:
        options |= {option: value.format(topics.results) for option, value in _PARTS.items()}
    arguments = [word for option, value in options.items() for word in (f"--{option}", value)]
    return [sys.executable, "-m", _MODULES.get(name, "beam_pipeline"), "run", *arguments, *runner.arguments]
