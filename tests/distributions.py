"""Installed packages on the path, with metadata as an installer writes it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import pytest

from models.entry_points import installed


class Write(Protocol):
    """Installs a package; see `distributions`."""

    def __call__(self, package: str, group: str, name: str, code: str, value: str | None = None) -> None: ...


@contextmanager
def distributions(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Returns a function that installs a package with one module and one entry point; all are removed at the end.

    The function takes the name of the package, the group and the name of the entry point, the code of the module, and
    the value of the entry point, unless it is the module.
    """
    with path_of_distributions(folder, monkeypatch):
        modules: list[str] = []

        def write(package: str, group: str, name: str, code: str, value: str | None = None) -> None:
            module = package.replace("-", "_")
            modules.append(module)
            (folder / f"{module}.py").write_text(code)
            metadata = folder / f"{module}-1.2.dist-info"
            metadata.mkdir()
            (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.2\n")
            (metadata / "entry_points.txt").write_text(f"[{group}]\n{name} = {value or module}\n")
            installed.cache_clear()

        try:
            yield write
        finally:
            for module in modules:
                sys.modules.pop(module, None)


@contextmanager
def path_of_distributions(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A context in which packages installed in a folder are found as well."""
    with monkeypatch.context() as patch:
        patch.syspath_prepend(str(folder))
        installed.cache_clear()
        yield
    installed.cache_clear()
