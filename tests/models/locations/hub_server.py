"""A Hugging Face Hub on this machine, as far as the Hub's client needs it to find and list a model."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from tests.models.locations.answering import Answering, Reply, answering

MISSING = {"revision": "RevisionNotFound", "repository": "RepoNotFound", "gated": "GatedRepo"}


def git_digest(content: bytes) -> str:
    """The hash by which git identifies a file."""
    return hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()


@dataclass
class Hub:
    """A Hub, and the store of its large files on another port.

    Attributes:
      site: the server that receives all requests first.
      store: the server with the large files.
      token: the token that requests for models must carry; None if they need none.
    """

    site: Answering
    store: Answering
    token: str | None = None
    page_size: int = 2

    def add(self, repository: str, commit: str, files: dict[str, bytes], large: tuple[str, ...] = ()) -> None:
        """Adds a commit; files that are listed as large go to the store."""
        entries = [self._entry(name, content, name in large) for name, content in files.items()]
        folders = sorted({name.rpartition("/")[0] for name in files} - {""})
        self.list(
            repository,
            commit,
            [*({"type": "directory", "path": one, "oid": "0" * 40, "size": 0} for one in folders), *entries],
        )
        self.point(repository, commit, commit)
        for name, content in files.items():
            where = f"/{repository}/resolve/{commit}/{quote(name)}"
            if name in large:
                address = f"/{hashlib.sha256(content).hexdigest()}"
                self.store.answers[address] = content
                self.answer(where, f"{self.store.url}{address}?Signature=x")
            else:
                self.answer(where, content)

    def list(self, repository: str, commit: str, entries: list[dict[str, Any]]) -> None:
        """Sets the Hub's listing of a commit, in pages."""
        where = f"/api/models/{repository}/tree/{commit}"
        pages = [entries[at : at + self.page_size] for at in range(0, max(1, len(entries)), self.page_size)]
        for number, page in enumerate(pages):
            following = f"{where}/page{number + 1}"
            headers = {"Link": f'<{self.site.url}{following}>; rel="next"'} if number + 1 < len(pages) else {}
            self.answer(f"{where}/page{number}" if number else where, Reply(200, headers, page))

    def point(self, repository: str, revision: str, commit: str) -> None:
        """Sets the commit of a branch or tag."""
        described = {"id": repository, "sha": commit, "siblings": []}
        self.answer(f"/api/models/{repository}/revision/{quote(revision, safe='')}", described)

    def lack(self, repository: str, revision: str, what: str) -> None:
        """Makes the Hub report that something is missing, with the texts of the real one (`MISSING`)."""
        status = 403 if what == "gated" else 404
        reply = Reply(status, {"X-Error-Code": MISSING[what], "X-Error-Message": f"no {what}"}, {"error": f"no {what}"})
        for where in (f"revision/{revision}", f"tree/{revision}"):
            self.site.answers[f"/api/models/{repository}/{where}"] = reply

    def answer(self, path: str, answer: Any) -> None:
        """Sets the response to a path; if there is a token, only requests that carry it receive the response."""
        refusal = Reply(401, {"X-Error-Code": "RepoNotFound"}, {"error": "Invalid username or password."})

        def reply(headers: dict[str, str]) -> Any:
            allowed = self.token is None or headers.get("Authorization") == f"Bearer {self.token}"
            return answer if allowed else refusal

        self.site.answers[path] = reply

    @staticmethod
    def _entry(name: str, content: bytes, large: bool) -> dict[str, Any]:
        entry = {"type": "file", "path": name, "size": len(content), "oid": git_digest(content)}
        if large:
            lfs = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
            entry.update(oid="1" * 40, lfs=lfs)
        return entry


@contextmanager
def hub() -> Iterator[Hub]:
    """Runs a Hub for this block."""
    with answering() as site, answering() as store:
        yield Hub(site, store)
