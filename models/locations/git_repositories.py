"""Locations `git+https://HOST/REPOSITORY@TAG` and `git+https://HOST/REPOSITORY@TAG#PATH`: models in git repositories.

A tag or a branch is resolved to the commit that it points to, and the descriptor names that commit. PATH is one file or
one folder of the repository. `git+ssh://USER@HOST/...`, `git+http://` and `git+file:///` are the same over other
protocols.

Only the commit is fetched, and its files are read from git's objects: nothing is checked out, so no hook, filter or
attribute of the repository has an effect. Submodules are rejected. A link becomes a copy of the file that it leads to
in the repository. Files in Git LFS need the program git-lfs.
"""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from urllib.parse import quote, unquote, urlsplit

from models.artifacts.archive import relative_name
from models.errors import ModelLoadError
from models.locations.git_command import GitCommand
from models.locations.git_files import write_files

_LOCATION = re.compile(
    r"git\+(?P<protocol>https|http|ssh|file)://(?P<host>[^/?#]*)(?P<path>/[^?#]*)@(?P<revision>[^@?#]+)(?:#(?P<inside>.*))?",
    re.IGNORECASE,
)
_HOST = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9_.-]*@)?(?:[A-Za-z0-9][A-Za-z0-9.-]*|\[[0-9A-Fa-f:]+\])(?::[0-9]{1,5})?")
# A subset of the names that git allows; none of them can be mistaken for an option or a pattern.
_REVISION = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_+/-]|\.(?!\.))*")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_LOOK_SECONDS = 60.0
_FETCH_SECONDS = 900.0


@dataclass(frozen=True)
class GitModel:
    """A model that a location names.

    Attributes:
      protocol: "https", "http", "ssh" or "file".
      url: the URL of the repository.
      revision: a tag, branch or commit.
      path: the path of a file or folder in it; None for the whole repository.
    """

    protocol: str
    url: str
    revision: str
    path: PurePosixPath | None

    def __str__(self) -> str:
        """The location."""
        path = "" if self.path is None else f"#{quote(str(self.path))}"
        return f"git+{self.url}@{self.revision}{path}"


def resolve(location: str) -> str:
    """The location with the commit that the tag or branch points to; tags take precedence over branches.

    Raises:
      MissingProgramError: when git is not installed.
      ModelLoadError: when the location is malformed, the repository cannot be read, or it has no such tag or branch.
    """
    model = parse_location(location)
    if _COMMIT.fullmatch(model.revision):
        return str(model)
    names = [f"refs/tags/{model.revision}^{{}}", f"refs/tags/{model.revision}", f"refs/heads/{model.revision}"]
    with tempfile.TemporaryDirectory(prefix="beam-serving-") as folder:
        git = GitCommand(Path(folder), model.protocol)
        listed = _run(model, git, ["ls-remote", "--quiet", "--", model.url, *names], _LOOK_SECONDS)
    # git matches the ends of names, so it may find others as well.
    found = dict(line.split("\t", 1)[::-1] for line in listed.decode("utf-8", "replace").splitlines() if "\t" in line)
    commit = next((found[name] for name in names if name in found), None)
    if commit is None:
        raise ModelLoadError(f"{model}: {model.url} has no tag or branch {model.revision!r}; push it first")
    if not _COMMIT.fullmatch(commit):
        raise ModelLoadError(f"{model}: {commit!r} is not a SHA-1 commit, and others are not supported")
    return str(replace(model, revision=commit))


def download(location: str, folder: Path) -> Path:
    """Copies the file, or all files below the folder, under its own name.

    Raises:
      MissingProgramError: when git, or git-lfs for a file that needs it, is not installed.
      ModelLoadError: when the repository or the commit cannot be read, or contains something that a model must not
        (`models.locations.git_files.write_files`).
    """
    model = parse_location(location)
    if not _COMMIT.fullmatch(model.revision):
        raise ModelLoadError(f"{model} follows a tag or branch, which may change; publish the model again")
    name = model.path or PurePosixPath(unquote(urlsplit(model.url).path).rstrip("/"))
    target = folder / (name.name.removesuffix(".git") or "model")
    with tempfile.TemporaryDirectory(prefix="beam-serving-") as work:
        git = GitCommand(Path(work), model.protocol)
        _run(model, git, ["init", "--quiet", "--bare", "--template="], _LOOK_SECONDS)
        fetch = ["fetch", "--quiet", "--depth=1", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head"]
        _run(model, git, [*fetch, "--", model.url, model.revision], _FETCH_SECONDS)
        try:
            write_files(git, model.url, model.revision, model.path, target)
        except ModelLoadError as error:
            raise type(error)(f"{model}: {error}") from error
    return target


def parse_location(location: str) -> GitModel:
    """Parses a location.

    Raises:
      ModelLoadError: when it is malformed, or contains a password.

    >>> str(parse_location("git+https://git.example.com/team/models.git@v3#wine/model.onnx"))
    'git+https://git.example.com/team/models.git@v3#wine/model.onnx'
    """
    found = _LOCATION.fullmatch(location)
    if found is None:
        # Not quoted: it may contain a password.
        raise ModelLoadError(
            "the location is not git+https://HOST/REPOSITORY@TAG or git+https://HOST/REPOSITORY@TAG#PATH"
        )
    protocol, host = found["protocol"].lower(), found["host"]
    if "@" in host and (protocol != "ssh" or ":" in host.partition("@")[0]):
        raise ModelLoadError(
            f"the location of the host {host.rpartition('@')[2]!r} contains a user or password, and everyone who reads "
            "the models topic could see it; leave it out"
        )
    if (protocol == "file") != (host == "") or (host and not _HOST.fullmatch(host)):
        raise ModelLoadError(f"{host!r} is not a host that git+{protocol} can have")
    revision = unquote(found["revision"])
    if not _REVISION.fullmatch(revision):
        raise ModelLoadError(f"{revision!r} is not the name of a tag, a branch or a commit")
    path = unquote(found["inside"] or "").strip("/")
    return GitModel(protocol, f"{protocol}://{host}{found['path']}", revision, relative_name(path) if path else None)


def _run(model: GitModel, git: GitCommand, arguments: list[str], seconds: float) -> bytes:
    try:
        return git.run(arguments, seconds)
    except ModelLoadError as error:
        raise ModelLoadError(f"{model}: {error}; check the location, and that this machine may read it") from error
