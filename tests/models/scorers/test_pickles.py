"""scikit-learn pickles: none is read unless the deployment allows it."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import sklearn

from beam_pipeline.publishing.drafts import Draft, check_draft, draft_descriptor
from models.artifacts.archive import zip_folder
from models.artifacts.digest import digest_of_bytes
from models.artifacts.local_opener import LocalOpener
from models.artifacts.pickles import AllowedPickles
from models.errors import ModelLoadError, OptionsError, PickleRefusedError, PublishError
from models.model_topic.descriptor import ModelDescriptor
from models.scorers import load_scorer
from models.scorers.base import ModelSource, Scorer
from tests.models.scorers.learned import forest, rows_of

BY_NAME = AllowedPickles.parse("m")
COMPRESSED = ["zlib", "gzip", "bz2", "lzma", "xz"]


class Trap:
    """Writes a file when its pickle is read."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self._path,)


def load(content: bytes, pickles: AllowedPickles, *, digest: bool = True) -> Scorer:
    published = digest_of_bytes(content) if digest else None
    descriptor = ModelDescriptor("m", "sklearn", 3, digest=published)
    return load_scorer(ModelSource(descriptor, content, LocalOpener(), pickles=pickles))


def dumped_by_joblib(compress: str | int) -> bytes:
    buffer = io.BytesIO()
    joblib.dump(forest(1), buffer, compress=compress)
    return buffer.getvalue()


def zipped(folder: Path) -> bytes:
    folder.mkdir()
    (folder / "model.pkl").write_bytes(pickle.dumps(forest(1)))
    return zip_folder(folder)


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_is_served_where_its_digest_is_allowed(protocol: int) -> None:
    content = pickle.dumps(forest(1), protocol)
    scorer = load(content, AllowedPickles.parse(f"other, sha256:{digest_of_bytes(content).upper()}"), digest=False)
    inputs = rows_of(1_000).astype(np.float64)
    outputs = scorer.score({"X": inputs}).outputs
    np.testing.assert_array_equal(outputs["prediction"], forest(1).predict(inputs))
    np.testing.assert_array_equal(outputs["probabilities"], forest(1).predict_proba(inputs))


@pytest.mark.parametrize("compress", [0, *COMPRESSED])
def test_a_file_of_joblib_is_a_pickle_however_it_is_compressed(compress: str | int) -> None:
    content = dumped_by_joblib(compress)
    with pytest.raises(PickleRefusedError):
        load(content, AllowedPickles.parse(None))
    load(content, BY_NAME)


def test_a_pickle_in_a_zip_file_is_allowed_by_the_digest_of_the_zip_file(tmp_path: Path) -> None:
    content = zipped(tmp_path / "model")
    with pytest.raises(PickleRefusedError):
        load(content, AllowedPickles.parse(None))
    load(content, AllowedPickles.parse(f"sha256:{digest_of_bytes(content)}"))


@pytest.mark.parametrize("allowed", [None, "other", "M", "m*", "m/3", f"sha256:{64 * '0'}"])
def test_a_pickle_that_is_not_allowed_is_not_read(tmp_path: Path, allowed: str | None) -> None:
    content = pickle.dumps(Trap(tmp_path / "sprung"))
    with pytest.raises(PickleRefusedError) as raised:
        load(content, AllowedPickles.parse(allowed))
    assert f"--allow-pickle sha256:{digest_of_bytes(content)}" in str(raised.value)
    assert not (tmp_path / "sprung").exists()


def test_a_name_does_not_allow_what_was_published_without_a_digest(tmp_path: Path) -> None:
    content = pickle.dumps(Trap(tmp_path / "sprung"))
    with pytest.raises(PickleRefusedError, match=r"--allow-pickle m allows only .* with a digest"):
        load(content, BY_NAME, digest=False)
    assert not (tmp_path / "sprung").exists()


def test_publishing_reads_no_pickle_unless_it_is_allowed(tmp_path: Path) -> None:
    model = tmp_path / "model.pkl"
    model.write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    draft = Draft("m", "sklearn", path=str(model))
    with pytest.raises(PublishError, match=r"was not published: .*--allow-pickle sha256:"):
        check_draft(draft, draft_descriptor(draft), None)
    assert not (tmp_path / "sprung").exists()
    model.write_bytes(pickle.dumps(forest(1)))
    check_draft(draft, draft_descriptor(draft), None, BY_NAME)


def test_what_is_not_an_estimator_is_refused() -> None:
    with pytest.raises(ModelLoadError, match="contains a list, which is not an estimator"):
        load(pickle.dumps([1, 2]), BY_NAME)


def test_a_pickle_of_another_version_of_scikit_learn_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sklearn.base.__version__", "1.2.3")
    content = pickle.dumps(forest(1))
    monkeypatch.undo()
    with pytest.raises(ModelLoadError, match=rf"from version 1\.2\.3 when using version {sklearn.__version__}"):
        load(content, BY_NAME)


@pytest.mark.parametrize("text", ["", "m,", "sha256:", "sha256:xyz", f"m,sha256:{63 * 'a'}"])
def test_a_malformed_option_is_refused(text: str) -> None:
    with pytest.raises(OptionsError, match="--allow-pickle"):
        AllowedPickles.parse(text)
