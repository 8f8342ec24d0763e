"""Google Cloud on this machine: a storage emulator, and a service that responds to job requests like Dataflow."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from apache_beam.internal.gcp import auth
from gcp_storage_emulator.server import create_server
from google.cloud import storage  # type: ignore[attr-defined,import-untyped,unused-ignore]

from tests.http_server import QuietHandler, http_server

BUCKET = "serving-bucket"
PROJECT = "demo-project"
REGION = "europe-west1"

# The options that every command needs; no_auth: no credentials are required.
PLACE = (f"--project={PROJECT}", f"--region={REGION}", f"--temp_location=gs://{BUCKET}/temp", "--no_auth")


class StorageEmulator:
    """Cloud Storage with one bucket. `STORAGE_EMULATOR_HOST` names it while it runs."""

    def __init__(self, host: str) -> None:
        self.host = host
        self._client = storage.Client.create_anonymous_client()

    def names(self) -> list[str]:
        """The names of all objects."""
        return sorted(blob.name for blob in self._client.list_blobs(BUCKET))

    def read(self, name: str) -> bytes:
        """Reads an object."""
        return bytes(self._client.bucket(BUCKET).blob(name).download_as_bytes())

    def write(self, name: str, content: str) -> str:
        """Writes an object; returns its location."""
        self._client.bucket(BUCKET).blob(name).upload_from_string(content)
        return f"gs://{BUCKET}/{name}"

    def everything(self) -> dict[str, bytes]:
        """All objects by name."""
        return {name: self.read(name) for name in self.names()}


@contextmanager
def storage_emulator() -> Iterator[StorageEmulator]:
    """Runs the emulator, in threads of this process."""
    server = create_server("localhost", 0, in_memory=True, default_bucket=BUCKET)
    server.start()
    try:
        host = f"http://localhost:{server._api._httpd.server_address[1]}"
        with pytest.MonkeyPatch.context() as patch:
            # Where there are none, Beam looks for credentials for half a minute, also with no_auth.
            patch.setattr(auth._Credentials, "_credentials_init", True)
            patch.setenv("STORAGE_EMULATOR_HOST", host)
            yield StorageEmulator(host)
    finally:
        server.stop()


@dataclass
class FakeDataflow:
    """Accepts job requests for one project and region, and records them.

    Attributes:
      running: the names of the running jobs, and their ids.
      created: the jobs that were requested.
    """

    endpoint: str = ""
    running: dict[str, str] = field(default_factory=dict)
    created: list[dict[str, Any]] = field(default_factory=list)

    def answer(self, method: str, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """The status and body of a response."""
        place = re.match(r"/v1b3/projects/([^/]+)/locations/([^/]+)/jobs", path)
        if place is None or place[2] != REGION:
            return 400, {"error": {"code": 400, "message": f"The workflow could not be created: no location {path}"}}
        if place[1] != PROJECT:
            return 403, {"error": {"code": 403, "message": "Permission denied on resource project."}}
        if method == "POST":
            self.created.append(body)
            return 200, {**body, "id": "job-1"}
        jobs = [{"id": id_, "name": name, "currentState": "JOB_STATE_RUNNING"} for name, id_ in self.running.items()]
        return 200, {"jobs": jobs}


@contextmanager
def fake_dataflow() -> Iterator[FakeDataflow]:
    """Runs the service, in threads of this process."""
    service = FakeDataflow()

    class Handler(QuietHandler):
        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def _answer(self) -> None:
            body = json.loads(self.body() or b"{}")
            status, content = service.answer(self.command, self.path, body)
            self.send(status, json.dumps(content).encode(), {"Content-Type": "application/json"})

    with http_server(Handler) as address:
        # Beam takes no endpoint without a name.
        service.endpoint = f"http://localhost:{address.rpartition(':')[2]}"
        yield service
