"""A server of HTTP on this machine that answers what a test wants."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit


@dataclass
class Answering:
    """What the server answers, by path: bytes as they are, a number as a status, a text as a redirection, else JSON.

    Attributes:
      url: of the server.
      answers: by path.
      headers: of each request so far.
      cut: how many bytes at the end of each answer are not sent.
    """

    url: str = ""
    answers: dict[str, Any] = field(default_factory=dict)
    headers: list[dict[str, str]] = field(default_factory=list)
    cut: int = 0


@contextmanager
def answering() -> Iterator[Answering]:
    """Runs a server for this block."""
    state = Answering()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.headers.append(dict(self.headers.items()))
            answer = state.answers.get(urlsplit(self.path).path, 404)
            if isinstance(answer, int | str):
                self.send_response(302 if isinstance(answer, str) else answer)
                self.send_header("Location", str(answer))
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) - state.cut])

        def log_message(self, format: str, *args: Any) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
