"""Models in real git repositories, served by git itself over HTTP and from a folder."""

from __future__ import annotations

import base64
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from models.artifacts.digest import digest_of_path
from models.errors import MissingProgramError, ModelLoadError
from models.locations import git_command, git_files, git_repositories
from models.locations.git_command import GitCommand
from models.locations.git_repositories import download, parse_location, resolve
from models.secret_references import SECRETS
from tests.models.locations.answering import answering
from tests.models.locations.git_server import ISOLATED, GitServer, Repository, serving
from transforms.file_systems import BeamOpener


@pytest.fixture(autouse=True)
def no_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    """Disables any configuration of git on the machine that runs the test."""
    for name, value in ISOLATED.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository.at(tmp_path / "served" / "wine")


@pytest.fixture
def server(repository: Repository) -> Iterator[GitServer]:
    with serving(repository.folder.parent) as running:
        yield running


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def at(repository: Repository, revision: str = "main", path: str = "") -> str:
    return f"git+file://{repository.folder}@{revision}{path}"


def test_a_tag_becomes_the_commit_that_it_points_to(repository: Repository, server: GitServer) -> None:
    first = repository.commit(model=b"1")
    repository.git("tag", "v1")
    repository.git("tag", "--annotate", "v1-annotated", "--message", "the first")
    second = repository.commit(model=b"2")
    location = f"git+{server.url}/wine"
    assert resolve(f"{location}@v1") == resolve(f"{location}@v1-annotated") == f"{location}@{first}"
    assert resolve(f"{location}@main#a%20b/c") == f"{location}@{second}#a%20b/c"
    repository.git("tag", "--force", "v1")
    assert resolve(f"{location}@v1") == f"{location}@{second}"
    assert resolve(f"{location}@{first}") == f"{location}@{first}"


def test_a_tag_goes_before_a_branch_and_names_are_not_patterns(repository: Repository) -> None:
    first = repository.commit(model=b"1")
    repository.git("tag", "release/1")
    repository.git("branch", "release/2")
    repository.git("branch", "x/refs/tags/release/3")
    repository.commit(model=b"2")
    repository.git("branch", "release/1")
    assert parse_location(resolve(at(repository, "release/1"))).revision == first
    assert parse_location(resolve(at(repository, "release/2"))).revision == first
    with pytest.raises(ModelLoadError, match="has no tag or branch 'release/3'"):
        resolve(at(repository, "release/3"))


def test_the_files_of_the_commit_are_those_that_were_committed(
    repository: Repository, server: GitServer, tmp_path: Path
) -> None:
    content = {"model.onnx": bytes(range(256)) * 4096, "a/b.txt": b"line\r\nline\n", "a/empty": b""}
    first = repository.commit(**{name.replace("/", "__"): value for name, value in content.items()})
    repository.git("tag", "v1")
    repository.commit(model=b"another")
    location = f"git+{server.url}/wine@{first}"
    copy = BeamOpener().download(location, tmp_path / "all")
    assert (copy.name, files_below(copy)) == ("wine", content)
    assert files_below(download(f"{location}#a/", tmp_path / "folder")) == {"b.txt": b"line\r\nline\n", "empty": b""}
    file = download(f"{location}#model.onnx", tmp_path / "file")
    assert file == tmp_path / "file" / "model.onnx"
    assert digest_of_path(file) == digest_of_path(copy / "model.onnx")


def test_no_attribute_filter_or_hook_has_an_effect(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = repository.commit(
        **{".gitattributes": b"* text eol=crlf filter=evil export-ignore\n", "model": b"a\n$Id$\n", "hooks__x": b""}
    )
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    for hook in ("reference-transaction", "post-checkout", "post-index-change"):
        (hooks / hook).write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
        (hooks / hook).chmod(0o755)
    configuration = tmp_path / "gitconfig"
    configuration.write_text(
        f'[core]\n\thooksPath = {hooks}\n[filter "evil"]\n\tsmudge = touch {tmp_path}/ran\n\trequired = true\n'
    )
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(configuration))
    monkeypatch.setenv("GIT_DIR", str(repository.folder / ".git"))
    before = files_below(repository.folder / ".git")
    assert (download(at(repository, commit), tmp_path / "out") / "model").read_bytes() == b"a\n$Id$\n"
    assert not (tmp_path / "ran").exists()
    assert files_below(repository.folder / ".git") == before


def test_a_link_becomes_the_file_of_the_repository_that_it_leads_to(repository: Repository, tmp_path: Path) -> None:
    (repository.folder / "m").mkdir()
    (repository.folder / "m" / "link").symlink_to("../shared")
    (repository.folder / "m" / "again").symlink_to("link")
    commit = repository.commit(shared=b"weights", m__own=b"1")
    copy = download(at(repository, commit, "#m"), tmp_path / "out")
    assert files_below(copy) == {"own": b"1", "link": b"weights", "again": b"weights"}
    assert not any(path.is_symlink() for path in copy.rglob("*"))


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("../../secret", "leads outside of the repository"),
        ("/etc/passwd", "leads outside of the repository"),
        ("folder", "does not lead to a file"),
        ("missing", "does not lead to a file"),
        ("link", "more than 8 links"),
        ("x" * 4097, "too long"),
    ],
)
def test_a_link_that_leads_elsewhere_is_refused(
    repository: Repository, tmp_path: Path, target: str, reason: str
) -> None:
    repository.commit(folder__file=b"1")
    identity = _object(repository, target.encode())
    repository.git("update-index", "--add", "--cacheinfo", f"120000,{identity},link")
    repository.git("commit", "--quiet", "--message", "link")
    with pytest.raises(ModelLoadError, match=reason):
        download(at(repository, repository.git("rev-parse", "HEAD")), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def _object(repository: Repository, content: bytes) -> str:
    file = repository.folder.parent / "content"
    file.write_bytes(content)
    return repository.git("hash-object", "-w", str(file))


def test_a_submodule_is_refused_unless_the_path_is_without_it(repository: Repository, tmp_path: Path) -> None:
    first = repository.commit(m__model=b"1")
    repository.git("update-index", "--add", "--cacheinfo", f"160000,{first},other")
    repository.git("commit", "--quiet", "--message", "submodule")
    commit = repository.git("rev-parse", "HEAD")
    with pytest.raises(ModelLoadError, match="'other' is a submodule"):
        download(at(repository, commit), tmp_path / "all")
    assert files_below(download(at(repository, commit, "#m"), tmp_path / "m")) == {"model": b"1"}


@pytest.mark.parametrize("name", ["..", "a\\b", "c:d"])
def test_a_name_that_leads_outside_is_refused(repository: Repository, tmp_path: Path, name: str) -> None:
    blob = bytes.fromhex(_object(repository, b"1"))
    file = tmp_path / "tree"
    file.write_bytes(b"100644 " + name.encode() + b"\0" + blob)
    tree = repository.git("hash-object", "-t", "tree", "-w", "--literally", str(file))
    commit = repository.git("commit-tree", tree, "-m", "hostile")
    repository.git("update-ref", "refs/heads/hostile", commit)
    with pytest.raises(ModelLoadError, match="leads outside of the model's folder"):
        download(at(repository, commit), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_files_far_larger_than_what_was_fetched_are_refused(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = repository.commit(model=b"\0" * 1_000_000)
    monkeypatch.setattr(git_files, "allowed_bytes", lambda size: 200 * size)
    with pytest.raises(ModelLoadError, match=r"1000000 bytes, more than the \d+ that are allowed"):
        download(at(repository, commit), tmp_path / "out")


def test_a_repository_that_is_too_large_is_not_fetched(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = repository.commit(model=os.urandom(200_000))
    monkeypatch.setattr(git_command, "LARGEST_FILE", 100_000)
    with pytest.raises(ModelLoadError, match="git fetch failed"):
        download(at(repository, commit), tmp_path / "out")
    monkeypatch.setattr(git_command, "LARGEST_FILE", 1_000_000)
    assert files_below(download(at(repository, commit), tmp_path / "out")).keys() == {"model"}


def test_a_server_that_hangs_is_given_up(
    repository: Repository, server: GitServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.commit(model=b"1")
    server.hanging = True
    monkeypatch.setattr(git_repositories, "_LOOK_SECONDS", 0.5)
    with pytest.raises(ModelLoadError, match=r"git ls-remote did not finish within 0 s"):
        resolve(f"git+{server.url}/wine@main")


def test_what_cannot_be_read_is_named(repository: Repository, server: GitServer, tmp_path: Path) -> None:
    repository.commit(model=b"1")
    with pytest.raises(
        ModelLoadError, match=r"git\+http://127\.0\.0\.1:1/wine@v1: git ls-remote failed: .*127\.0\.0\.1"
    ):
        resolve("git+http://127.0.0.1:1/wine@v1")
    with pytest.raises(ModelLoadError, match=r"blue@v1: git ls-remote failed: .*not found.*check the location"):
        resolve(f"git+{server.url}/blue@v1")
    with pytest.raises(ModelLoadError, match=r"git ls-remote failed: .*no-such-host\.invalid"):
        resolve("git+https://no-such-host.invalid/blue@v1")
    with pytest.raises(ModelLoadError, match=rf"@{'0' * 40}: git fetch failed: .*not our ref"):
        download(f"git+{server.url}/wine@{'0' * 40}", tmp_path / "out")
    with pytest.raises(ModelLoadError, match="has no file or folder 'blue'"):
        download(at(repository, repository.git("rev-parse", "main"), "#blue"), tmp_path / "out")
    tree = repository.git("rev-parse", "main^{tree}")
    with pytest.raises(ModelLoadError, match=f"{tree} is not a commit|git fetch failed"):
        download(at(repository, tree), tmp_path / "out")


def test_a_branch_is_never_downloaded(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match="follows a tag or branch"):
        download("git+https://git.example.com/wine@main", tmp_path)


def test_credentials_come_from_the_environment_and_may_be_secrets(
    repository: Repository, server: GitServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = repository.commit(model=b"1")
    header = f"Basic {base64.b64encode(b'me:hunter2').decode()}"
    server.authorization = header
    with pytest.raises(ModelLoadError, match="git ls-remote failed"):
        resolve(f"git+{server.url}/wine@main")
    reference = "secret:projects/p/secrets/git/versions/1"
    monkeypatch.setattr(SECRETS, "_access", {reference[7:]: f"Authorization: {header}".encode()}.__getitem__)
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", f"http.{server.url}/.extraHeader")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", reference)
    assert resolve(f"git+{server.url}/wine@main").endswith(commit)


@pytest.mark.parametrize(
    "location",
    [
        "git+https://git.example.com/wine",
        "git+https://git.example.com@v1",
        "git+https:///wine@v1",
        "git+https://-oProxyCommand=evil/wine@v1",
        "git+ssh://-oProxyCommand=evil/wine@v1",
        "git+ssh://-oProxyCommand=evil@host/wine@v1",
        "git+ssh://me@-oProxyCommand=evil/wine@v1",
        "git+https://host:port/wine@v1",
        "git+https://host/wine@--upload-pack=touch evil",
        "git+https://host/wine@-v1",
        "git+https://host/wine@v1..v2",
        "git+https://host/wine@v*",
        "git+https://host/wine@v1:refs/heads/main",
        "git+https://host/wine@%2Dv1",
        "git+file://host/wine@v1",
        "git+https://host/wine@v1#../other",
        "git+https://host/wine@v1#/..",
        "git+ext://sh/-c@v1",
    ],
)
def test_malformed_locations_and_options_in_them_are_refused(location: str) -> None:
    with pytest.raises(ModelLoadError):
        resolve(location)


@pytest.mark.parametrize("protocol", ["https", "ssh"])
def test_a_password_is_refused_and_not_repeated(protocol: str) -> None:
    with pytest.raises(ModelLoadError, match="'host' contains a user or password") as raised:
        resolve(f"git+{protocol}://me:hunter2@host/wine@v1")
    assert "hunter2" not in str(raised.value)


def test_git_uses_no_other_protocol_than_that_of_the_location(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.commit(model=b"1")
    configuration = tmp_path / "gitconfig"
    configuration.write_text(f'[url "file://{repository.folder}"]\n\tinsteadOf = http://elsewhere/wine\n')
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(configuration))
    with pytest.raises(ModelLoadError, match="transport 'file' not allowed"):
        resolve("git+http://elsewhere/wine@main")


def test_a_redirection_is_not_followed(repository: Repository, server: GitServer) -> None:
    repository.commit(model=b"1")
    with answering() as elsewhere:
        path = "/wine/info/refs"
        elsewhere.answers[path] = f"{server.url}{path}?service=git-upload-pack"
        with pytest.raises(ModelLoadError, match=r"git ls-remote failed: .*redirect|.* 302"):
            resolve(f"git+{elsewhere.url}/wine@main")
        assert elsewhere.headers


def test_a_password_that_git_was_configured_with_is_not_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configuration = tmp_path / "gitconfig"
    configuration.write_text('[url "http://me:hunter2@127.0.0.1:1/"]\n\tinsteadOf = http://127.0.0.1:1/\n')
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(configuration))
    with pytest.raises(ModelLoadError, match="git ls-remote failed") as raised:
        resolve("git+http://127.0.0.1:1/wine@main")
    assert "hunter2" not in str(raised.value)


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 7\n"


def test_a_file_in_git_lfs_needs_its_program(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = repository.commit(model=POINTER, readme=b"version https://git-lfs.github.com/spec/v1 is what we use")
    which = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "git-lfs" else which(name))
    with pytest.raises(MissingProgramError, match="'model' is in Git LFS, and the program git-lfs is missing"):
        download(at(repository, commit, "#model"), tmp_path / "out")
    assert download(at(repository, commit, "#readme"), tmp_path / "out").read_bytes().endswith(b"we use")


def test_git_itself_is_named_when_it_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingProgramError, match="the program git is missing; install it"):
        GitCommand(tmp_path, "https")
