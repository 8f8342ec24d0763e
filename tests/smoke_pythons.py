"""Installs the package with its requirements for each other Python on PATH, and tries it: `make test-pythons`.

This is not a pytest test, because one interpreter takes minutes, and machines have different interpreters.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from models.extras import EXTRA_OF
from tests.setup_requirements import HEAVY_EXTRAS

ROOT = Path(__file__).resolve().parent.parent
PYTHONS = ("python3.10", "python3.11", "python3.12", "python3.13")
# Requirements that contradict each other keep pip searching for very long.
STEP_SECONDS = 600.0
PACKAGES = ("beam_pipeline", "models", "runners", "transforms")
# All that our modules import, except for what takes gigabytes.
EXTRAS = sorted(set(EXTRA_OF.values()) - HEAVY_EXTRAS)
HEAVY_MODULES = sorted(module for module, name in EXTRA_OF.items() if name in HEAVY_EXTRAS)

# Every module is imported, so that syntax and names of another version's library show.
IMPORT_ALL = f"""
import importlib, pkgutil, sys
for name in sys.argv[1:]:
    package = importlib.import_module(name)
    assert "site-packages" in package.__file__, package.__file__
    for module in pkgutil.walk_packages(package.__path__, name + "."):
        try:
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
        except ModuleNotFoundError as error:
            if error.name.partition(".")[0] not in {HEAVY_MODULES}:
                raise
"""


def interpreters() -> list[str]:
    """The paths of the other Pythons that really run; a name on PATH may be a stub of a version manager."""
    running = "python{}.{}".format(*sys.version_info)
    found = (shutil.which(name) for name in PYTHONS if name != running)
    return [path for path in found if path and _works(path)]


def _works(python: str) -> bool:
    return subprocess.run([python, "-c", "import venv, ensurepip"], capture_output=True).returncode == 0


def smoke(python: str) -> bool:
    """Whether the package installs and runs with that interpreter, in an environment that is removed afterwards."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="beam-serving-smoke-") as folder:
        environment = Path(folder, "environment")
        inside = str(environment / "bin" / "python")
        steps: list[list[str]] = [
            [python, "-m", "venv", str(environment)],
            [
                inside,
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                f"{_source_copy(Path(folder))}[{','.join(EXTRAS)}]",
            ],
            [inside, "-m", "pip", "check"],
            [inside, "-I", "-c", IMPORT_ALL, *PACKAGES],
            [str(environment / "bin" / "beam-serving"), "--help"],
        ]
        passed = all(_step(step, folder) for step in steps)
    print(f"{python}: {'passed' if passed else 'FAILED'} after {time.monotonic() - started:.0f} s", flush=True)
    return passed


def _source_copy(folder: Path) -> Path:
    """The copy from which to install, because building leaves files behind, which must not be in the checkout."""
    source = folder / "source"
    for package in PACKAGES:
        shutil.copytree(ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    return source


def _step(command: list[str], folder: str) -> bool:
    clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=clean,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=STEP_SECONDS,
        )
    except subprocess.TimeoutExpired:
        print(f"{' '.join(command)[:200]} did not end within {STEP_SECONDS:.0f} s", flush=True)
        return False
    if done.returncode != 0:
        print(f"{' '.join(command)[:200]} failed:\n{(done.stdout + done.stderr)[-3000:]}", flush=True)
    return done.returncode == 0


def main() -> int:
    """Tries each interpreter in turn; returns 1 if one of them failed."""
    pythons = interpreters()
    if not pythons:
        print("No other Python from 3.10 to 3.13 is on PATH.")
    return int(False in [smoke(python) for python in pythons])


if __name__ == "__main__":
    sys.exit(main())
