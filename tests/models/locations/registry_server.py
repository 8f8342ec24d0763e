"""An OCI registry: a small one in this process, or a real one if OCI_REGISTRY_BINARY names its program.

The program is that of github.com/distribution/distribution (`registry`, or Debian's `docker-registry`). Building it
takes minutes, so the tests run against it only when they are started by hand.
"""

from __future__ import annotations

import hashlib
import json
import os
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

from runners.local.free_ports import free_port
from runners.local.server_process import ServerProcess
from tests.http_server import QuietHandler, http_server, wait_until_served

BINARY_VARIABLE = "OCI_REGISTRY_BINARY"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
START_SECONDS = 30.0


@dataclass
class Registry:
    """The small registry; tests set the things that a real registry never does, such as lying.

    Attributes:
      host: the host of the registry, with its port.
      blobs: the blobs by digest.
      manifests: the type and content of manifests, by repository and reference.
      challenge: the response to a request without `authorization`; None accepts all requests.
      authorization: the header that is accepted.
      tokens: the response of the token server, whose path is /token.
      headers: the headers of each request, by their names in title case, with its path.
      redirection: the URL, without a blob's digest, to which requests for blobs are redirected; None for no redirect.
    """

    host: str = ""
    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[tuple[str, str], tuple[str, bytes]] = field(default_factory=dict)
    challenge: str | None = None
    authorization: str | None = None
    tokens: Any = None
    headers: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    redirection: str | None = None

    def put_blob(self, content: bytes) -> dict[str, Any]:
        """Adds a blob; returns its digest and size, as in a manifest."""
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        self.blobs[digest] = content
        return {"digest": digest, "size": len(content)}

    def put_manifest(self, name: str, tag: str, manifest: Any, kind: str = MANIFEST) -> str:
        """Adds a manifest; returns its digest."""
        content = manifest if isinstance(manifest, bytes) else json.dumps(manifest).encode()
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        self.manifests[name, tag] = self.manifests[name, digest] = (kind, content)
        return digest


def upload(host: str, name: str, content: bytes) -> dict[str, Any]:
    """Uploads a blob to any registry over its API; returns its digest and size."""
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    with _request(f"http://{host}/v2/{name}/blobs/uploads/", "POST", b"") as answer:
        location = answer.headers["Location"]
    location = location if location.startswith("http") else f"http://{host}{location}"
    mark = "&" if "?" in location else "?"
    _request(f"{location}{mark}digest={digest}", "PUT", content, "application/octet-stream").close()
    return {"digest": digest, "size": len(content)}


def upload_manifest(host: str, name: str, reference: str, manifest: Any, kind: str = MANIFEST) -> str:
    """Uploads a manifest to any registry over its API; returns its digest."""
    content = json.dumps(manifest).encode()
    _request(f"http://{host}/v2/{name}/manifests/{reference}", "PUT", content, kind).close()
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _request(url: str, method: str, content: bytes, kind: str = "") -> Any:
    headers = {"Content-Type": kind} if kind else {}
    return urllib.request.urlopen(urllib.request.Request(url, content, headers, method=method), timeout=30)


@contextmanager
def registry() -> Iterator[Registry]:
    """Runs the small registry for this block."""
    state = Registry()

    class Handler(QuietHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            if url.path == "/token":
                self._send(200, json.dumps(state.tokens).encode())
                return
            if state.challenge and self.headers.get("Authorization") != state.authorization:
                self._send(401, b'{"errors": []}', {"WWW-Authenticate": state.challenge})
                return
            name, _, reference = url.path.removeprefix("/v2/").rpartition("/")
            if name.endswith("/blobs"):
                self._send_blob(reference)
            elif (key := (name.removesuffix("/manifests"), reference)) in state.manifests:
                kind, content = state.manifests[key]
                self._send(200, content, {"Content-Type": kind})
            else:
                self._send(200 if url.path == "/v2/" else 404, b'{"errors": [{"message": "manifest unknown"}]}')

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_POST(self) -> None:
            self._send(202, b"", {"Location": f"{urlsplit(self.path).path}{uuid.uuid4()}"})

        def do_PUT(self) -> None:
            content = self.body()
            url = urlsplit(self.path)
            name, _, reference = url.path.removeprefix("/v2/").rpartition("/")
            if name.endswith("/manifests"):
                state.put_manifest(name.removesuffix("/manifests"), reference, content, self.headers["Content-Type"])
            else:
                assert parse_qs(url.query)["digest"] == [state.put_blob(content)["digest"]]
            self._send(201, b"")

        def _send_blob(self, digest: str) -> None:
            if state.redirection is not None:
                self._send(307, b"", {"Location": f"{state.redirection}/{digest}"})
            elif digest in state.blobs:
                self._send(200, state.blobs[digest])
            else:
                self._send(404, b'{"errors": [{"message": "blob unknown"}]}')

        def _send(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
            state.headers.append((self.path, {name.title(): value for name, value in self.headers.items()}))
            self.send(status, content, headers)

    with http_server(Handler) as host:
        state.host = host
        yield state


@contextmanager
def any_registry(folder: Path) -> Iterator[str]:
    """Runs the real registry if the environment names its program, otherwise the small one; returns its host."""
    binary = os.environ.get(BINARY_VARIABLE)
    if not binary:
        with registry() as small:
            yield small.host
        return
    host = f"127.0.0.1:{free_port()}"
    configuration = folder / "registry.yml"
    storage = {"filesystem": {"rootdirectory": str(folder / "storage")}}
    configuration.write_text(yaml.safe_dump({"version": 0.1, "storage": storage, "http": {"addr": host}}))
    process = ServerProcess([binary, "serve", str(configuration)], folder / "log", {})
    try:
        wait_until_served(process, f"http://{host}/v2/", START_SECONDS)
        yield host
    finally:
        process.kill()
