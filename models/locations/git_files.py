"""Writes the files of a commit from git's objects, without a checkout."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from models.artifacts.archive import ENTRY_LIMIT, allowed_bytes, relative_name
from models.artifacts.digest import digest_of_path
from models.errors import MissingProgramError, ModelLoadError
from models.locations.git_command import GitCommand

_LINK, _SUBMODULE = "120000", "160000"
_MOST_HOPS = 8
_LONGEST_LINK = 4096
_LONGEST_POINTER = 1024
_POINTER_MARK = b"version https://git-lfs.github.com/spec/v1\n"
_POINTER = re.compile(rb"^oid sha256:([0-9a-f]{64})\nsize ([0-9]{1,18})\n", re.MULTILINE)
_SECONDS = 900.0
_BLOCK = 1024 * 1024


@dataclass(frozen=True)
class TreeEntry:
    """A file, link or submodule of a commit.

    Attributes:
      mode: its mode, as git writes it.
      identity: the hash of its object.
      size: in bytes; 0 for a submodule.
    """

    mode: str
    identity: str
    size: int


Tree = dict[PurePosixPath, TreeEntry]


def write_files(git: GitCommand, url: str, commit: str, path: PurePosixPath | None, target: Path) -> None:
    """Writes a file of a commit to `target`, or all files below a folder into the folder `target`.

    Args:
      git: runs git in a repository that has the commit.
      url: the URL from which the commit was fetched.
      commit: the hash of the commit.
      path: the path of the file or folder; None for the whole commit.
      target: the target, which must not exist.

    Raises:
      MissingProgramError: when a file is in Git LFS, and git-lfs is not installed.
      ModelLoadError: when the commit or path does not exist, or there are too many files or bytes, a name or link that
        leads outside, a link to a folder, or a submodule.
    """
    tree = _tree(git, commit)
    root = path or PurePosixPath()
    chosen = {name: entry for name, entry in tree.items() if path is None or path == name or path in name.parents}
    if not chosen:
        raise ModelLoadError(f"the commit has no file or folder {str(root)!r}")
    # Following a link may add a file that was not selected.
    files = {name: _followed(git, tree, name) for name in chosen}
    allowed = allowed_bytes(sum(file.stat().st_size for file in git.repository.rglob("*.pack")))
    total = sum(file.size for file in files.values())
    if total > allowed:
        raise ModelLoadError(
            f"the files have {total} bytes, more than the {allowed} that are allowed for what was fetched"
        )
    _write(git, {target / name.relative_to(root): file for name, file in files.items()})
    for name in files:
        _replace_pointer(git, url, target / name.relative_to(root), str(name))


def _tree(git: GitCommand, commit: str) -> Tree:
    kind = git.run(["cat-file", "-t", commit], _SECONDS).strip()
    if kind != b"commit":
        raise ModelLoadError(f"{commit} is not a commit but a {kind.decode('ascii', 'replace')}")
    tree: Tree = {}
    for line in git.run(["ls-tree", "-r", "-z", "-l", "--full-tree", commit], _SECONDS).split(b"\0")[:-1]:
        described, _, encoded = line.partition(b"\t")
        mode, _, identity, size = described.decode("ascii").split()
        try:
            name = relative_name(encoded.decode("utf-8"))
        except UnicodeDecodeError:
            raise ModelLoadError(f"file name {encoded!r} is not UTF-8; rename the file") from None
        tree[name] = TreeEntry(mode, identity, 0 if size == "-" else int(size))
        if len(tree) > ENTRY_LIMIT:
            raise ModelLoadError(f"the commit has more than {ENTRY_LIMIT} files")
    return tree


def _followed(git: GitCommand, tree: Tree, name: PurePosixPath) -> TreeEntry:
    """The file with that name, or the one that a link with that name leads to."""
    at = name
    for _ in range(_MOST_HOPS):
        entry = tree.get(at)
        if entry is None:
            raise ModelLoadError(
                f"the link {str(name)!r} does not lead to a file of the commit; replace it with a file"
            )
        if entry.mode == _SUBMODULE:
            raise ModelLoadError(f"{str(at)!r} is a submodule, which is not fetched; name a path without it")
        if entry.mode != _LINK:
            return entry
        at = _led_to(git, at, entry)
    raise ModelLoadError(f"the link {str(name)!r} leads through more than {_MOST_HOPS} links; replace it with a file")


def _led_to(git: GitCommand, link: PurePosixPath, entry: TreeEntry) -> PurePosixPath:
    if entry.size > _LONGEST_LINK:
        raise ModelLoadError(f"the link {str(link)!r} is too long")
    text = git.run(["cat-file", "blob", entry.identity], _SECONDS).decode("utf-8", "replace")
    parts = [] if text.startswith("/") else list(link.parent.parts)
    for part in PurePosixPath(text).parts:
        if part == "/" or (part == ".." and not parts):
            raise ModelLoadError(f"the link {str(link)!r} leads outside of the repository, to {text!r}; remove it")
        parts = parts[:-1] if part == ".." else [*parts, part]
    return PurePosixPath(*parts)


def _write(git: GitCommand, files: dict[Path, TreeEntry]) -> None:
    asked = "".join(f"{entry.identity}\n" for entry in files.values()).encode()
    everything = git.repository / "contents"
    git.run_into(everything, ["cat-file", "--batch"], _SECONDS, asked)
    try:
        with everything.open("rb") as source:
            for target, entry in files.items():
                target.parent.mkdir(parents=True, exist_ok=True)
                _write_one(source, target, entry)
    except OSError as error:
        raise ModelLoadError(f"the files cannot be written: {error}") from error
    finally:
        everything.unlink()


def _write_one(source: BinaryIO, target: Path, entry: TreeEntry) -> None:
    header = source.readline().split()
    if header != [entry.identity.encode(), b"blob", str(entry.size).encode()]:
        raise ModelLoadError(f"the object {entry.identity} of {target.name!r} is missing")
    with target.open("xb") as file:
        left = entry.size
        while left and (block := source.read(min(_BLOCK, left))):
            file.write(block)
            left -= len(block)
    source.read(1)


def _replace_pointer(git: GitCommand, url: str, file: Path, name: str) -> None:
    """Replaces a Git LFS pointer with the file that it stands for."""
    if file.stat().st_size > _LONGEST_POINTER:
        return
    pointer = file.read_bytes()
    found = _POINTER.search(pointer)
    if not pointer.startswith(_POINTER_MARK) or found is None:
        return
    if shutil.which("git-lfs") is None:
        raise MissingProgramError(
            f"the file {name!r} is in Git LFS, and the program git-lfs is missing; install it here and wherever "
            "workers run"
        )
    digest, size = found[1].decode(), int(found[2])
    whole = git.repository / "whole"
    git.run_into(whole, ["lfs", "smudge"], _SECONDS, pointer, _lfs_settings(url))
    if whole.stat().st_size != size or digest_of_path(whole) != digest:
        raise ModelLoadError(f"Git LFS did not return the file {name!r} that its pointer names")
    file.unlink()
    shutil.move(whole, file)


def _lfs_settings(url: str) -> list[str]:
    """The settings that make Git LFS read from beside the repository, whatever a file in the repository says."""
    remote = f"remote.origin.url={url}"
    if not url.startswith(("http:", "https:")):
        return [remote]  # over SSH and in folders, Git LFS knows no other address
    return [remote, f"lfs.url={url.rstrip('/').removesuffix('.git')}.git/info/lfs"]
