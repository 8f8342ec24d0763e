"""A stand-in for the API server of Kubernetes: keeps objects of one kind in memory, and records all requests.

It knows what `ModelNamespace` uses. `tests/cluster` does the same against a real one.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

from tests.http_server import QuietHandler, http_server

COLLECTION = "/apis/beam-serving.io/v1alpha1/namespaces/serving/modelversions"
DEPLOYMENTS = "/apis/apps/v1/namespaces/serving/deployments"
EVENTS = "/api/v1/namespaces/serving/events"
MERGE = "application/merge-patch+json"


@dataclass
class ApiServer:
    """The objects and events that a client has created.

    Attributes:
      kubeconfig: a file by which clients reach it.
      objects: the objects by name.
      events: the created events.
      deployments: the uids of Deployments by name.
      requests: the method and the path of each request.
      refusal: a status with which every request is refused; 0 for none.
    """

    kubeconfig: Path
    objects: dict[str, dict[str, Any]] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)
    deployments: dict[str, str] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    refusal: int = 0

    def answer(self, method: str, path: str, content_type: str, body: Any) -> tuple[int, Any]:
        """The status and the content of an answer."""
        self.requests.append((method, path))
        if self.refusal:
            return self.refusal, {"message": "refused"}
        parts = urlsplit(path)
        if parts.path == EVENTS and method == "POST":
            self.events.append(body)
            return 201, body
        if parts.path.startswith(DEPLOYMENTS):
            uid = self.deployments.get(parts.path.rpartition("/")[2])
            spec: dict[str, Any] = {"selector": {}, "template": {}}
            return (404, {}) if uid is None else (200, {"metadata": {"uid": uid}, "spec": spec})
        name, _, subresource = parts.path.removeprefix(COLLECTION).strip("/").partition("/")
        if not parts.path.startswith(COLLECTION):
            return 404, {}
        if not name:
            return self._collection(method, parse_qs(parts.query), body)
        if name not in self.objects:
            return 404, {}
        if method == "DELETE":
            return 200, self.objects.pop(name)
        assert (method, content_type) == ("PATCH", MERGE)
        # With a status subresource, each of the two requests changes its own part only.
        allowed = {"status"} if subresource else {"spec", "metadata"}
        self.objects[name] = merged(self.objects[name], {key: value for key, value in body.items() if key in allowed})
        return 200, self.objects[name]

    def _collection(self, method: str, query: dict[str, list[str]], body: Any) -> tuple[int, Any]:
        if method == "GET":
            key, _, value = query["labelSelector"][0].partition("=")
            return 200, {"items": [one for one in self.objects.values() if one["metadata"]["labels"].get(key) == value]}
        body.pop("status", None)
        body["metadata"]["uid"] = str(uuid.uuid4())
        self.objects[body["metadata"]["name"]] = body
        return 201, body


def merged(known: Any, patch: Any) -> Any:
    """A JSON merge patch (RFC 7386)."""
    if not isinstance(patch, dict):
        return patch
    made = dict(known) if isinstance(known, dict) else {}
    for key, value in patch.items():
        if value is None:
            made.pop(key, None)
        else:
            made[key] = merged(made.get(key), value)
    return made


@contextmanager
def running(folder: Path) -> Iterator[ApiServer]:
    """Runs a server, to which the kubeconfig in the folder leads."""
    server = ApiServer(folder / "kubeconfig")

    class Handler(QuietHandler):
        def _answer(self) -> None:
            content = self.body()
            kind = self.headers.get("Content-Type", "")
            status, body = server.answer(self.command, self.path, kind, json.loads(content) if content else None)
            self.send(status, json.dumps(body).encode(), {"Content-Type": "application/json"})

        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def do_PATCH(self) -> None:
            self._answer()

        def do_DELETE(self) -> None:
            self._answer()

    with http_server(Handler) as address:
        server.kubeconfig.write_text(yaml.safe_dump(_kubeconfig(f"http://{address}")))
        yield server


def _kubeconfig(url: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": url}}],
        "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u", "namespace": "serving"}}],
        "current-context": "x",
    }
