"""One classic template, staged once for all tests of this folder and read back."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import Any

import pytest
from apache_beam.portability.api import beam_runner_api_pb2 as proto

from beam_pipeline.cli.command_line import main
from models.kafka import credentials as kafka_credentials
from models.secret_references import SecretReader
from tests.google_cloud import BUCKET, PLACE, StorageEmulator
from tests.google_cloud import storage_emulator as run_storage

# The response of Secret Manager, if it is called.
PASSWORD = "correct-horse-battery"
SECRET = "projects/demo-project/secrets/kafka-password/versions/3"
TEMPLATE = f"gs://{BUCKET}/templates/serving"


@dataclass(frozen=True)
class Staged:
    """Everything that was staged.

    Attributes:
      objects: everything in the bucket, by name.
      job: the template itself, as the service reads it.
      metadata: the metadata file beside the template.
      graph: the pipeline's proto.
      secrets_read: the names of the secrets that were read meanwhile.
      said: everything that was printed and logged meanwhile.
    """

    objects: dict[str, bytes]
    job: dict[str, Any]
    metadata: dict[str, Any]
    graph: proto.Pipeline
    secrets_read: list[str]
    said: str

    @property
    def steps(self) -> dict[str, proto.PTransform]:
        """The transforms that contain no others, by their full names."""
        transforms = self.graph.components.transforms.values()
        return {one.unique_name: one for one in transforms if not one.subtransforms}

    def step(self, start: str) -> proto.PTransform:
        """The only step whose name starts with this text."""
        (found,) = (step for name, step in self.steps.items() if name.startswith(start))
        return found

    def object_that_ends(self, end: str) -> bytes:
        """The only object whose name ends with this text."""
        (found,) = (content for name, content in self.objects.items() if name.endswith(end))
        return found


@pytest.fixture(scope="session")
def storage_emulator() -> Iterator[StorageEmulator]:
    with run_storage() as emulator:
        yield emulator


@pytest.fixture(scope="session")
def staged(storage_emulator: StorageEmulator) -> Staged:
    """A template with a password by reference and without a container, so that the wheel is staged with it."""
    kafka = ("security.protocol=SASL_SSL", "sasl.mechanism=PLAIN", "sasl.username=u", f"sasl.password=secret:{SECRET}")
    words = [
        "template",
        "build",
        "--kind=classic",
        f"--location={TEMPLATE}",
        "--record-schema=wine",
        "--verbose",
        *PLACE,
    ]
    read: list[str] = []

    def access(name: str) -> bytes:
        read.append(name)
        return PASSWORD.encode()

    with pytest.MonkeyPatch.context() as patch, everything_said() as said:
        patch.setattr(kafka_credentials, "SECRETS", SecretReader(access))
        assert main([*words, *(f"--kafka-config={pair}" for pair in kafka)]) == 0
    objects = storage_emulator.everything()
    graph = next(content for name, content in objects.items() if name.endswith("/pipeline.pb"))
    return Staged(
        objects,
        json.loads(objects["templates/serving"]),
        json.loads(objects["templates/serving_metadata"]),
        proto.Pipeline.FromString(graph),
        read,
        said.getvalue(),
    )


@contextmanager
def everything_said() -> Iterator[io.StringIO]:
    """Everything that is printed, or logged at any level by any logger."""
    said = io.StringIO()
    handler = logging.StreamHandler(said)
    root, beam = logging.getLogger(), logging.getLogger("apache_beam")
    levels = root.level, beam.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    beam.setLevel(logging.DEBUG)  # a command before may have silenced it
    try:
        with redirect_stdout(said), redirect_stderr(said):
            yield said
    finally:
        root.removeHandler(handler)
        root.setLevel(levels[0])
        beam.setLevel(levels[1])
