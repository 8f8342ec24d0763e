"""Starts `tensorflow_serving_server.py` as processes, and creates the models that they serve.

with running(models={"adder:1": folder}, labels={"adder:stable": 1}) as replica:
    location = f"grpc://127.0.0.1:{replica.grpc_port}/adder"
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf

from models.model_topic.descriptor import ModelDescriptor
from models.scorers.base import ModelSource
from tests.certificates import Certificate

SERVER = Path(__file__).with_name("tensorflow_serving_server.py")


@dataclass(frozen=True)
class Replica:
    """A server process and its ports; the last two respond only when it was given a certificate."""

    process: subprocess.Popen[str]
    grpc_port: int
    rest_port: int
    grpc_tls_port: int
    rest_tls_port: int

    def wait_until_ready(self) -> None:
        """Returns when all ports respond; fails when the process ends before."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line == "ready\n", f"the server ended with {self.process.wait()}: {line!r}"

    def calls(self) -> list[dict[str, Any]]:
        """The calls of Predict so far."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.rest_port}/test/calls", timeout=10) as response:
            calls: list[dict[str, Any]] = json.load(response)
            return calls

    def behave(self, *, delay_ms: int = 0, failures: tuple[str, ...] = ()) -> None:
        """Makes the following calls of Predict slow, or makes the next ones fail with these gRPC statuses."""
        body = json.dumps({"delay_ms": delay_ms, "failures": failures}).encode()
        url = f"http://127.0.0.1:{self.rest_port}/test/behaviour"
        urllib.request.urlopen(url, data=body, timeout=10).close()

    def kill(self) -> None:
        """Sends SIGKILL, after which the process does nothing more."""
        self.process.kill()
        self.process.wait()


def free_ports(count: int) -> list[int]:
    """Ports on which nothing listens."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def start(
    models: Mapping[str, Path],
    labels: Mapping[str, int] | None = None,
    *,
    ports: list[int] | None = None,
    certificate: Certificate | None = None,
    arguments: tuple[str, ...] = (),
) -> Replica:
    """Starts a process without waiting until it is ready; the caller kills it.

    Args:
      models: the folders of SavedModels by NAME:VERSION.
      labels: versions by NAME:LABEL.
      ports: four free ports; None for any.
      certificate: the certificate for the TLS ports.
      arguments: further arguments of the server, for example ("--delay-ms", "100").
    """
    ports = ports or free_ports(4)
    command = [sys.executable, str(SERVER), "--grpc-port", str(ports[0]), "--rest-port", str(ports[1]), *arguments]
    for key, folder in models.items():
        name, version = key.split(":")
        command += ["--model", f"{name}={folder}:{version}"]
    for key, version_number in (labels or {}).items():
        command += ["--label", f"{key}={version_number}"]
    if certificate:
        command += ["--grpc-tls-port", str(ports[2]), "--rest-tls-port", str(ports[3])]
        command += ["--tls-certificate", str(certificate.certificate), "--tls-key", str(certificate.key)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    return Replica(process, *ports)


@contextmanager
def running(models: Mapping[str, Path], labels: Mapping[str, int] | None = None, **more: Any) -> Iterator[Replica]:
    """Starts a process, waits until it is ready, and kills it at the end; see `start`."""
    replica = start(models, labels, **more)
    try:
        replica.wait_until_ready()
        yield replica
    finally:
        close(replica)


def close(replica: Replica) -> None:
    """Kills the process if it still runs, and closes its pipes."""
    replica.kill()
    for pipe in (replica.process.stdin, replica.process.stdout):
        if pipe is not None:
            pipe.close()


class NoOpener:
    """An opener that must not be called, because remote models are not downloaded."""

    def download(self, location: str, folder: Path) -> Path:
        raise AssertionError(f"{location} was downloaded")


def source(location: str | None, model_type: str, **fields: Any) -> ModelSource:
    """The source from which the scorer of a model at this location is loaded."""
    descriptor = ModelDescriptor("model", model_type, 1, model_source_location=location, **fields)
    return ModelSource(descriptor, None, NoOpener())


def save_adder(folder: Path, version: int) -> Path:
    """A model: input x, output y = x + 1000 * version, so that every value identifies the version."""
    module = tf.Module()

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
    def serve(x: Any) -> dict[str, Any]:
        return {"y": x + 1000.0 * version}

    module.serve = serve
    tf.saved_model.save(module, str(folder), signatures={"serving_default": serve})
    return folder


def save_kinds(folder: Path) -> Path:
    """A model with an input and an output of each kind; the outputs are slightly changed inputs."""
    module = tf.Module()

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.string, "text"),
            tf.TensorSpec([None, 2], tf.int64, "whole"),
            tf.TensorSpec([None], tf.float64, "real"),
            tf.TensorSpec([None], tf.bool, "flag"),
        ]
    )
    def serve(text: Any, whole: Any, real: Any, flag: Any) -> dict[str, Any]:
        return {
            "text": tf.strings.join([text, text]),
            "text_bytes": tf.stack([text, text], axis=1),
            "whole": whole + 1,
            "real": real,
            "flag": tf.logical_not(flag),
        }

    module.serve = serve
    tf.saved_model.save(module, str(folder), signatures={"serving_default": serve})
    return folder


def save_named(folder: Path, *names: str) -> Path:
    """A model with signatures of these names: input `rows` [n, 3]; output `total` [n] times 1, 2, ..."""
    module = tf.Module()
    for number, name in enumerate(names, 1):
        setattr(module, name, _total(number))
    tf.saved_model.save(module, str(folder), signatures={name: getattr(module, name) for name in names})
    return folder


def _total(factor: int) -> Any:
    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, "rows")])
    def serve(rows: Any) -> dict[str, Any]:
        return {"total": factor * tf.reduce_sum(rows, axis=1)}

    return serve
