"""The models of the demo: two are trained at the first start and cached; a third one is a broken copy."""

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


def trained_models(report: Callable[[str], None]) -> TrainedModels:
    """The models from the cache, after training them if necessary.

    Args:
      report: called with a text for the user before the training.

    Raises:
      TrainingError: the training fails; the message has the end of its output.
    """
    folder = cache_folder("demo", _recipe_digest())
    if not folder.exists():
        with locked(folder.with_suffix(".lock"), "training the models of the demo"):
            if not folder.exists():
                report("Training two wine models, only once (about 20 s, mostly for starting TensorFlow)")
                _train_into(folder)
    return TrainedModels(folder / "weak", folder / "good")


def _recipe_digest() -> str:
    """A digest of everything that determines the models: the data, the recipes and the version of TensorFlow."""
    code = files("beam_pipeline.demo").joinpath("training.py").read_bytes()
    made_of = (wine_file(), code, version("tensorflow").encode())
    return hashlib.sha256(b"\0".join(made_of)).hexdigest()[:16]


def _train_into(folder: Path) -> None:
    """Trains in a temporary folder that is then renamed, so that the cache never holds incomplete models."""
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
            raise TrainingError(f"training the models of the demo took longer than {_SECONDS:g} s") from error
        if done.returncode != 0:
            output = done.stdout.decode(errors="replace").strip()[-1500:]
            raise TrainingError(f"the models of the demo could not be trained:\n{output}")
        target.replace(folder)


def break_model(model: Path, folder: Path) -> Path:
    """Copies a SavedModel without its variables to `folder`, so that it looks like a model but cannot be loaded."""
    shutil.copytree(model, folder)
    for file in (folder / "variables").iterdir():
        file.unlink()
    return folder
