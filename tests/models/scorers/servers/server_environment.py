"""Python environments for the model servers of tests, each installed once, in the cache outside the tree."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from runners.local.cache_folder import announce, cache_folder, locked


def server_environment(name: str, lock: Path, *, with_dependencies: bool = True) -> Path:
    """The `bin` folder of an environment with the packages of a lock file; it is created if it is missing.

    Args:
      name: the name of the server.
      lock: the file of pinned requirements; each content of it has a separate environment.
      with_dependencies: whether to install requirements of the packages that the lock lacks or has in other versions.
    """
    content = lock.read_bytes() + sys.version.encode()
    folder = cache_folder("test-servers", f"{name}-{hashlib.sha256(content).hexdigest()[:12]}")
    with locked(folder.with_suffix(".lock"), f"installing {name}"):
        done = folder / "installed"
        if not done.exists():
            announce(f"Installing {name} for tests (a minute, only once)")
            shutil.rmtree(folder, ignore_errors=True)
            subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
            options = [] if with_dependencies else ["--no-deps"]
            subprocess.run([*_installer(folder), *options, "--requirement", str(lock)], check=True)
            done.touch()
    return folder / "bin"


def _installer(folder: Path) -> list[str]:
    python = str(folder / "bin" / "python")
    uv = Path(sys.executable).with_name("uv")
    if uv.exists():
        return [str(uv), "pip", "install", "--quiet", "--python", python]
    return [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
