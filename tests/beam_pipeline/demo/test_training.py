"""The models of the demo are really trained, and are served by the scorer that the pipeline uses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from beam_pipeline.demo import trained_models as module
from beam_pipeline.demo.scenario import draft_of
from beam_pipeline.demo.trained_models import TrainedModels, TrainingError, break_model, trained_models
from beam_pipeline.demo.wine import load_wines
from models.artifacts.local_opener import LocalOpener
from models.errors import ModelLoadError
from models.scorers import load_scorer
from models.scorers.base import ModelSource


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> TrainedModels:
    """The models, trained into an empty cache, as on the first start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        said: list[str] = []
        trained = trained_models(said.append)
        assert len(said) == 1
        assert trained_models(said.append) == trained
        assert len(said) == 1, "what is in the cache is not trained again"
    return trained


def accuracy(folder: Path) -> float:
    scorer = load_scorer(ModelSource(draft_of("", location=str(folder)), None, LocalOpener()))
    try:
        wines = load_wines().held_out
        outputs = scorer.score({"inputs": np.array([wine.measures for wine in wines], np.float32)}).outputs["outputs"]
    finally:
        scorer.close()
    assert outputs.shape == (len(wines), 9)
    assert outputs.sum(axis=1) == pytest.approx(np.ones(len(wines)), abs=1e-4)
    return float((outputs.argmax(axis=1) == [wine.quality for wine in wines]).mean())


@pytest.mark.slow
def test_the_good_model_is_clearly_better_on_rows_that_neither_was_trained_on(models: TrainedModels) -> None:
    weak, good = accuracy(models.weak), accuracy(models.good)
    assert 0.3 < weak < 0.5
    assert good > 0.55
    assert good > weak + 0.08


def test_the_broken_model_looks_like_one_and_cannot_be_loaded(models: TrainedModels, tmp_path: Path) -> None:
    broken = break_model(models.good, tmp_path / "broken")
    assert (broken / "saved_model.pb").exists()
    with pytest.raises(ModelLoadError, match="TensorFlow cannot load it"):
        load_scorer(ModelSource(draft_of("", location=str(broken)), None, LocalOpener()))


def test_a_training_that_fails_says_why_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(module, "_TRAINING", "beam_pipeline.demo.no_such_module")
    with pytest.raises(TrainingError, match="no_such_module"):
        trained_models(lambda _: None)
    left = [path for path in (tmp_path / "beam-serving" / "demo").iterdir() if path.suffix != ".lock"]
    assert left == []
