"""Real git repositories, and git's own HTTP server for them on this machine."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from tests.http_server import QuietHandler, http_server

ISOLATED = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}


@dataclass(frozen=True)
class Repository:
    """A repository in a folder, with a working tree.

    Attributes:
      folder: the folder of the working tree.
    """

    folder: Path

    @classmethod
    def at(cls, folder: Path) -> Repository:
        """Creates a repository, whose branch is `main`."""
        folder.mkdir(parents=True)
        repository = cls(folder)
        repository.git("init", "--quiet", "--initial-branch=main")
        return repository

    def git(self, *arguments: str) -> str:
        """Runs git in the repository, and returns its output."""
        given = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        command = ["git", "-c", "user.name=t", "-c", "user.email=t@example.com", *arguments]
        return subprocess.run(
            command, cwd=self.folder, env={**given, **ISOLATED}, check=True, capture_output=True, text=True
        ).stdout.strip()

    def commit(self, **files: bytes) -> str:
        """Writes files, commits everything, and returns the hash; "__" in a name stands for a slash."""
        for name, content in files.items():
            path = self.folder / name.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "change")
        return self.git("rev-parse", "HEAD")


@dataclass
class GitServer:
    """A server of all repositories below a folder.

    Attributes:
      url: the URL of the server.
      authorization: the header that requests must carry; None if they need none.
      hanging: whether requests get no response until the server ends.
    """

    url: str = ""
    authorization: str | None = None
    hanging: bool = False
    ended: threading.Event = field(default_factory=threading.Event)


@contextmanager
def serving(root: Path) -> Iterator[GitServer]:
    """Runs `git http-backend` behind an HTTP server for this block."""
    state = GitServer()

    class Handler(QuietHandler):
        def do_GET(self) -> None:
            self._answer(b"")

        def do_POST(self) -> None:
            self._answer(self.body())

        def _answer(self, body: bytes) -> None:
            if state.hanging:
                state.ended.wait()
                return
            if state.authorization not in (None, self.headers.get("Authorization")):
                self.send(401, headers={"WWW-Authenticate": 'Basic realm="git"'})
                return
            headers, _, content = self._backend(body).partition(b"\r\n\r\n")
            lines = dict(line.split(": ", 1) for line in headers.decode().split("\r\n"))
            self.send(int(lines.pop("Status", "200").split(" ")[0]), content, lines)

        def _backend(self, body: bytes) -> bytes:
            url = urlsplit(self.path)
            environment = {
                "PATH": os.environ["PATH"],
                **ISOLATED,
                "GIT_PROJECT_ROOT": str(root),
                "GIT_HTTP_EXPORT_ALL": "1",
                "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
                "PATH_INFO": url.path,
                "QUERY_STRING": url.query,
                "REQUEST_METHOD": self.command,
                "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                "CONTENT_LENGTH": str(len(body)),
                "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            }
            # It fails where a client asked for what is missing, and has answered that then.
            return subprocess.run(
                ["git", "http-backend"], input=body, env=environment, check=False, capture_output=True
            ).stdout

    with http_server(Handler) as host:
        state.url = f"http://{host}"
        try:
            yield state
        finally:
            state.ended.set()
