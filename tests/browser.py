"""A real browser for tests: Chromium, and axe, which checks the accessibility of a page.

`python -m tests.browser` gets both, before tests with a time limit need them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from runners.local.cache_folder import announce, cache_folder, locked

AXE = "axe-core@4.14.1"
SECONDS = 600.0
_NAMES = ("chromium", "google-chrome", "google-chrome-stable", "chromium-browser")
# Nothing that a browser fetches for itself, and no sandbox, which does not run as root.
_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@contextmanager
def running_browser() -> Iterator[Browser]:
    """A headless Chromium, which ends with the block."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=_ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


def violations(page: Page) -> list[str]:
    """What axe objects to, with the elements; also what it is not sure about is an objection if it is a contrast."""
    page.evaluate(axe_source())
    found: Any = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{one['id']} ({one['impact']}): {one['help']}: {[node['html'][:200] for node in one['nodes'][:3]]}"
        for one in found["violations"]
    ]


@cache
def chromium() -> str:
    """The browser on this machine; on Debian and its like it is installed if it is missing."""
    return _installed() or _install()


def _installed() -> str | None:
    return next((path for name in _NAMES if (path := shutil.which(name)) is not None), None)


def _install() -> str:
    with locked(cache_folder("browser", "chromium.lock"), "installing Chromium"):
        found = _installed()
        if found is None:
            announce("Installing Chromium")
            _apt("update", "--quiet")
            _apt("install", "--quiet", "--yes", "--no-install-recommends", "chromium")
            found = _installed()
    assert found is not None, "Chromium was installed, but none of its commands is on PATH"
    return found


def _apt(*words: str) -> None:
    apt = shutil.which("apt-get")
    assert apt is not None, "these tests need Chromium, and only apt-get is known to install it: install it yourself"
    command = [apt, "-o", "DPkg::Lock::Timeout=300", *words]
    if os.geteuid() != 0:
        command = ["sudo", "--non-interactive", *command]
    _run(command, {**os.environ, "DEBIAN_FRONTEND": "noninteractive"})


@cache
def axe_source() -> str:
    """The source of axe, out of its npm package."""
    folder = cache_folder("browser", AXE)
    if not folder.is_dir():
        with locked(folder.with_name(f"{AXE}.lock"), "fetching axe"):
            if not folder.is_dir():
                announce("Fetching axe")
                _fetch_axe(folder)
    return (folder / "package" / "axe.min.js").read_text(encoding="utf-8")


def _fetch_axe(folder: Path) -> None:
    npm = shutil.which("npm")
    assert npm is not None, "npm is not on PATH, and these tests fetch axe with it"
    temporary = Path(tempfile.mkdtemp(dir=folder.parent))
    try:
        _run([npm, "pack", AXE, "--silent", "--pack-destination", str(temporary)])
        (archive,) = temporary.glob("*.tgz")
        with tarfile.open(archive) as members:
            members.extractall(temporary, filter="data")
        temporary.replace(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _run(command: Sequence[str], environment: dict[str, str] | None = None) -> None:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, f"{' '.join(command)} failed:\n{done.stdout[-1000:]}{done.stderr[-2000:]}"


if __name__ == "__main__":
    chromium()
    axe_source()
