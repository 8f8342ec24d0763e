"""Locations `hf://OWNER/NAME@REVISION` and `hf://OWNER/NAME@REVISION/PATH`: models on the Hugging Face Hub.

A revision is a branch, a tag or a commit, and defaults to `main`. Slashes in it are written as %2F. Descriptors name
the commit. PATH is one file or one folder of the repository.

The variable HF_ENDPOINT names the Hub, which is huggingface.co by default, and HF_TOKEN contains the token, or a
reference to a secret. A location names neither, so that a descriptor cannot send the token elsewhere. The token files
that the Hub's own tools write are not read.

The Hub's client resolves revisions and lists files. The files themselves are downloaded in the same way as from all
other servers: the client's own download writes a cache beside them, checks no digest, and starts again endlessly when a
server cuts off each response and does not support resuming.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from urllib.parse import quote, unquote

from huggingface_hub import HfApi, RepoFile, hf_hub_url
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

from models.artifacts.archive import ENTRY_LIMIT, relative_name
from models.artifacts.digest import digest_of_path
from models.errors import HttpStatusError, ModelLoadError, ServingError
from models.locations.environment import from_environment
from models.locations.http_files import check_url, save_file
from models.text import SERVER_TEXT_LIMIT, error_text

TOKEN_VARIABLE = "HF_TOKEN"
ENDPOINT_VARIABLE = "HF_ENDPOINT"
PUBLIC_HUB = "https://huggingface.co"
_DEFAULT_REVISION = "main"
_LOCATION = re.compile(
    r"hf://(?P<owner>[^/@?#]+)/(?P<name>[^/@?#]+)(?:@(?P<revision>[^/@?#]+))?(?:/(?P<path>.*))?", re.IGNORECASE
)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SECONDS = 30.0
_BLOCK = 1024 * 1024


@dataclass(frozen=True)
class HubModel:
    """A model that a location names.

    Attributes:
      repository: OWNER/NAME.
      revision: a branch, tag or commit.
      path: the path of a file or folder in it; None for the whole repository.
    """

    repository: str
    revision: str
    path: PurePosixPath | None

    def __str__(self) -> str:
        """The location."""
        path = "" if self.path is None else f"/{quote(str(self.path))}"
        return f"hf://{self.repository}@{quote(self.revision, safe='')}{path}"

    def has(self, file: PurePosixPath) -> bool:
        """Whether a file of the repository is part of the model."""
        return self.path is None or self.path == file or self.path in file.parents


def resolve(location: str) -> str:
    """The location with the commit that its revision points to.

    Raises:
      ModelLoadError: when the location is malformed, or the Hub cannot be reached, has no such model or revision, or
        does not let this process read it.
    """
    model = parse_location(location)
    with _errors_named(model):
        commit = _hub().model_info(model.repository, revision=model.revision, timeout=_SECONDS).sha
    if not isinstance(commit, str) or not _COMMIT.fullmatch(commit):
        raise ModelLoadError(f"{model}: the server at {_endpoint()} named no commit; is it a Hugging Face Hub?")
    return str(replace(model, revision=commit))


def download(location: str, folder: Path) -> Path:
    """Copies the file, or all files below the folder, under its own name, and checks the Hub's digests.

    Raises:
      ModelLoadError: when the Hub cannot be reached or refuses, or returns unexpected responses.
    """
    model = parse_location(location)
    if not _COMMIT.fullmatch(model.revision):
        raise ModelLoadError(f"{model} follows a revision, which may change; publish the model again")
    with _errors_named(model):
        files = _files(model)
    if not files:
        raise ModelLoadError(f"{model} has no files; check the path")
    root = model.path or PurePosixPath()
    target = folder / (root.name or model.repository.rpartition("/")[2])
    token = _token()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    for name, file in files.items():
        copy = target / name.relative_to(root)
        url = hf_hub_url(model.repository, str(name), revision=model.revision, endpoint=_endpoint())
        try:
            save_file(url, copy, headers, file.size)
        except HttpStatusError as error:
            raise ModelLoadError(f"{model}: {error}{_remedy(error.status)}") from error
        _check(copy, file, model)
    return target


def parse_location(location: str) -> HubModel:
    """Parses a location; raises ModelLoadError when it is malformed.

    >>> str(parse_location("hf://acme/wine@refs%2Fpr%2F1/onnx/wine.onnx"))
    'hf://acme/wine@refs%2Fpr%2F1/onnx/wine.onnx'
    """
    found = _LOCATION.fullmatch(location)
    if found is None:
        raise ModelLoadError(f"{location!r} is not hf://OWNER/NAME@REVISION or hf://OWNER/NAME@REVISION/PATH")
    path = unquote(found["path"] or "").rstrip("/")
    revision = unquote(found["revision"] or _DEFAULT_REVISION)
    return HubModel(f"{found['owner']}/{found['name']}", revision, relative_name(path) if path else None)


def _hub() -> HfApi:
    return HfApi(endpoint=_endpoint(), token=_token(), library_name="beam-serving")


def _endpoint() -> str:
    endpoint = (os.environ.get(ENDPOINT_VARIABLE) or PUBLIC_HUB).rstrip("/")
    check_url(endpoint)
    return endpoint


def _token() -> str | bool:
    """The token; False, unlike None, stops the client from looking for one in files."""
    return from_environment(TOKEN_VARIABLE) or False


def _files(model: HubModel) -> dict[PurePosixPath, RepoFile]:
    files: dict[PurePosixPath, RepoFile] = {}
    tree = _hub().list_repo_tree(model.repository, recursive=True, revision=model.revision)
    for count, entry in enumerate(tree, 1):
        if count > ENTRY_LIMIT:
            raise ModelLoadError(f"{model.repository} has more than {ENTRY_LIMIT} files")
        if isinstance(entry, RepoFile):
            name = relative_name(entry.path)
            if model.has(name):
                files[name] = entry
    return files


def _check(copy: Path, file: RepoFile, model: HubModel) -> None:
    """Compares a file with its digest: the SHA-256 of a large file, or git's own hash of a small one."""
    if file.lfs is None:
        expected, found = file.blob_id, _git_digest(copy)
    else:
        expected, found = file.lfs.sha256, digest_of_path(copy)
    if expected != found:
        raise ModelLoadError(f"{model}: the digest of {file.path!r} is {found}, but the Hub announced {expected}")


def _git_digest(path: Path) -> str:
    total = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            total.update(block)
    return total.hexdigest()


@contextmanager
def _errors_named(model: HubModel) -> Iterator[None]:
    """Adds the name of the model and the remedy to errors of the Hub's client."""
    try:
        yield
    except ServingError:
        raise
    except GatedRepoError as error:
        raise ModelLoadError(
            f"{model}: access must be granted by its owner; ask for it on the model's page, and set {TOKEN_VARIABLE} "
            "here and wherever workers run"
        ) from error
    except RevisionNotFoundError as error:
        raise ModelLoadError(f"{model}: {model.repository} has no revision {model.revision!r}") from error
    except RepositoryNotFoundError as error:
        raise ModelLoadError(
            f"{model} does not exist at {_endpoint()}, or may not be read; check the name{_remedy(401)}"
        ) from error
    except HfHubHTTPError as error:
        text = error_text(error, SERVER_TEXT_LIMIT)
        raise ModelLoadError(f"{model}: {text}{_remedy(error.response.status_code)}") from error
    # The client passes on any exception of its HTTP client, and any that an unexpected response causes.
    except Exception as error:
        text = error_text(error, SERVER_TEXT_LIMIT)
        raise ModelLoadError(f"{model} cannot be read from {_endpoint()}: {text}") from error


def _remedy(status: int) -> str:
    if status not in (401, 403):
        return ""
    given = "has no access" if os.environ.get(TOKEN_VARIABLE) else "is not set"
    return f"; the variable {TOKEN_VARIABLE} {given}: give a token that may read it, here and wherever workers run"
