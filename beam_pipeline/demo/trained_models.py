"""The models of the demo: trained at its first start, then kept in the cache; and a third one that is broken."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

from beam_pipeline.publishing.wine_data import wine_file
from models.errors import ServingError
from runners.local.cache_folder import cache_folder, locked

APPLICATION_FOLDER = Path(__file__).resolve().parent.parent.parent
_TRAINING = "beam_pipeline.demo.training"
_SECONDS = 600.0


class TrainingError(ServingError):
    """The models of the demo could not be trained."""


@dataclass(frozen=True)
class TrainedModels:
    """The folders of the two SavedModels."""

    weak: Path
    good: Path


def trained_models(say: Callable[[str], None]) -> TrainedModels:
    """The models, from the cache, or trained now.

    Args:
      say: told when there is something to wait for.

    Raises:
      TrainingError: with the end of what the training wrote.
    """
    folder = cache_folder("demo", _recipe_digest())
    if not folder.exists():
        with locked(folder.with_suffix(".lock"), "training the models of the demo"):
            if not folder.exists():
                say("Training two models on wines, once (some 20 s, most of it TensorFlow's start)")
                _train_into(folder)
    return TrainedModels(folder / "weak", folder / "good")


def _recipe_digest() -> str:
    """Names what the models are made of: other data, another recipe or another TensorFlow gives other models."""
    code = files("beam_pipeline.demo").joinpath("training.py").read_bytes()
    made_of = (wine_file(), code, version("tensorflow").encode())
    return hashlib.sha256(b"\0".join(made_of)).hexdigest()[:16]


def _train_into(folder: Path) -> None:
    """In place in one step, so that nobody ever sees half of it."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        target = Path(temporary, "models")
        command = [sys.executable, "-m", _TRAINING, str(target)]
        try:
            done = subprocess.run(
                command,
                cwd=APPLICATION_FOLDER,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=_SECONDS,
            )
        except subprocess.TimeoutExpired as error:
            raise TrainingError(f"the models of the demo were not trained after {_SECONDS:g} s") from error
        if done.returncode != 0:
            said = done.stdout.decode(errors="replace").strip()[-1500:]
            raise TrainingError(f"the models of the demo could not be trained:\n{said}")
        target.replace(folder)


def break_model(model: Path, folder: Path) -> Path:
    """A copy of a SavedModel without its variables, in `folder`: it looks like a model and cannot be loaded."""
    shutil.copytree(model, folder)
    for file in (folder / "variables").iterdir():
        file.unlink()
    return folder
