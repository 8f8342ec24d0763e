"""An HTTP server on this machine with the responses that a test sets."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from tests.http_server import QuietHandler, http_server


@dataclass(frozen=True)
class Reply:
    """A response with its own headers; the content is JSON unless it is bytes."""

    status: int
    headers: dict[str, str]
    content: Any = b""


@dataclass
class Answering:
    """The server's responses by path: bytes as content, a number as status, a text as a redirect, the rest as JSON.

    A function receives the headers of the request and returns one of these.

    Attributes:
      url: the URL of the server.
      answers: the responses by path.
      headers: the headers of each request so far, by their names in title case.
      cut: the number of bytes that are cut off at the end of each response.
    """

    url: str = ""
    answers: dict[str, Any] = field(default_factory=dict)
    headers: list[dict[str, str]] = field(default_factory=list)
    cut: int = 0


@contextmanager
def answering() -> Iterator[Answering]:
    """Runs a server for this block."""
    state = Answering()

    class Handler(QuietHandler):
        def do_GET(self) -> None:
            state.headers.append({name.title(): value for name, value in self.headers.items()})
            answer = state.answers.get(urlsplit(self.path).path, 404)
            if callable(answer):
                answer = answer(state.headers[-1])
            if isinstance(answer, int | str):
                status = 302 if isinstance(answer, str) else answer
                answer = Reply(status, {"Location": str(answer)})
            if not isinstance(answer, Reply):
                answer = Reply(200, {}, answer)
            content = answer.content if isinstance(answer.content, bytes) else json.dumps(answer.content).encode()
            self.send_response(answer.status)
            for name, value in {**answer.headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content[: len(content) - state.cut])

    with http_server(Handler) as host:
        state.url = f"http://{host}"
        yield state
