"""Builds this application's wheel from its source tree, for workers on other machines."""

from __future__ import annotations

import atexit
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from models.errors import WheelError

_SOURCE = Path(__file__).resolve().parents[2]
_PACKAGES = ("beam_pipeline", "models", "runners", "transforms")
_FILES = ("setup.py", "pyproject.toml", "README.md", "LICENSE")


def build_wheel() -> Path:
    """Builds the wheel in a temporary folder that is removed when this process ends, and returns its path.

    Raises:
      WheelError: the application does not run from a source tree, or the build fails.
    """
    missing = [name for name in _FILES if not (_SOURCE / name).is_file()]
    if missing:
        raise WheelError(
            "the workers need this application, whose wheel can only be built in a source tree: use "
            "--sdk_container_image=IMAGE or --extra_package=WHEEL"
        )
    folder = Path(tempfile.mkdtemp(prefix="beam-serving-wheel-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    # Builds from a copy, because setuptools builds inside the tree and would include leftovers of an earlier build.
    copy = folder / "source"
    for package in _PACKAGES:
        shutil.copytree(_SOURCE / package, copy / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in _FILES:
        shutil.copy(_SOURCE / name, copy / name)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(copy)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise WheelError(f"the wheel for the workers could not be built: {done.stderr.strip()[-500:]}")
    return next(folder.glob("*.whl"))
