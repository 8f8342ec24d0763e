"""The contract of in-process scorers, as tests that every such scorer passes, including those of other packages.

A package tests its scorer with its own subclass and one fixture, from a checkout of this project::

    from tests.models.scorers.contract import ScorerCase, ScorerContract

    class TestTrees(ScorerContract):
        @pytest.fixture
        def case(self) -> ScorerCase:
            return ScorerCase("acme-trees", ...)
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from models.artifacts.archive import zip_folder
from models.artifacts.digest import digest_of_bytes, digest_of_path
from models.artifacts.local_opener import LocalOpener
from models.artifacts.pickles import NO_PICKLES, AllowedPickles
from models.errors import DigestMismatchError, ModelLoadError, ScorerOptionError, ScoringError
from models.model_topic.descriptor import ModelDescriptor
from models.scorers import load_scorer, model_types, prepare_engines, runs_in_process
from models.scorers.base import ModelSource, Scorer
from models.tensors import Array, sample_inputs

Arrays = Mapping[str, Array]
ROWS = (1, 2, 2_000)
EMPTY_ZIP = b"PK\x05\x06" + bytes(18)


@dataclass(frozen=True)
class ScorerCase:
    """The facts about one kind of model that the contract needs.

    Attributes:
      model_type: the type, as in descriptors.
      save: writes a model to a path, as a file or folder there, and returns its path. The models for the numbers 1
        and 2 have the same signature and different outputs.
      inputs: returns the requested number of input rows; the first n rows are the same for each number of rows from n.
      expected: the framework's own results for a model and these inputs, by output.
      wrong: inputs with the right names that the model cannot score.
      tolerance: the allowed difference of a floating-point number from the framework's, relatively and absolutely.
      options: the options that the model needs.
      signature: the name of the signature to request, if the model needs one.
      pickles: the pickles that may be loaded although loading runs code, if the model is saved as one.
    """

    model_type: str
    save: Callable[[Path, int], Path]
    inputs: Callable[[int], Arrays]
    expected: Callable[[int, Arrays], Arrays]
    wrong: Arrays
    tolerance: float = 0.0
    options: Mapping[str, str] = field(default_factory=dict)
    signature: str | None = None
    pickles: AllowedPickles = NO_PICKLES


@dataclass
class Models:
    """The models of a case, saved once, and loaded as tests need them; all are closed at the end."""

    case: ScorerCase
    folder: Path
    opened: list[Scorer] = field(default_factory=list)

    def path(self, number: int = 1) -> Path:
        """The path of the model with that number."""
        place = self.folder / str(number)
        if not place.exists():
            place.mkdir()
            self.case.save(place / "model", number)
        (path,) = place.iterdir()
        return path

    def source(self, path: Path, *, content: bytes | None = None, digest: str | None = None) -> ModelSource:
        """The source from which a worker would load the model."""
        case = self.case
        location = None if content is not None else str(path)
        if digest is None and path.exists():  # the digest of what is there, as publishing computes it
            digest = digest_of_path(path) if content is None else digest_of_bytes(content)
        descriptor = ModelDescriptor(
            "m",
            case.model_type,
            3,
            model_source_location=location,
            signature=case.signature,
            options=case.options,
            digest=digest,
        )
        return ModelSource(descriptor, content, LocalOpener(), pickles=case.pickles)

    def load(self, number: int = 1) -> Scorer:
        """Loads the model with that number."""
        return self.kept(load_scorer(self.source(self.path(number))))

    def kept(self, scorer: Scorer) -> Scorer:
        """Keeps a scorer, to be closed with the others."""
        self.opened.append(scorer)
        return scorer

    def close(self) -> None:
        """Closes the scorers."""
        for scorer in self.opened:
            scorer.close()


def assert_equal(case: ScorerCase, found: Arrays, expected: Arrays) -> None:
    """Fails unless the outputs have the expected names, dtypes, shapes and values."""
    assert found.keys() == expected.keys()
    for name, wanted in expected.items():
        assert (found[name].dtype, found[name].shape) == (wanted.dtype, wanted.shape), name
        if wanted.dtype.kind == "f":
            assert_close(found[name], wanted, case.tolerance)
        else:
            np.testing.assert_array_equal(found[name], wanted, err_msg=name)


def assert_close(found: Array, expected: Array, tolerance: float) -> None:
    """Fails unless all numbers are within the tolerance of the expected ones, relatively or absolutely."""
    ours, theirs = found.astype(np.float64), expected.astype(np.float64)
    np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)


class ScorerContract:
    """The tests; a subclass provides the fixture `case`."""

    @pytest.fixture
    def models(self, case: ScorerCase, tmp_path: Path) -> Iterator[Models]:
        folder = tmp_path / "models"
        folder.mkdir()
        models = Models(case, folder)
        yield models
        models.close()

    @pytest.fixture(autouse=True)
    def temporary_folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """The folder of the scorer's temporary files, so that a test can check which of them are left."""
        folder = tmp_path / "temporary"
        folder.mkdir()
        monkeypatch.setattr(tempfile, "tempdir", str(folder))
        return folder

    def test_its_type_is_known_and_runs_in_the_process(self, case: ScorerCase) -> None:
        assert case.model_type in model_types()
        assert runs_in_process(case.model_type)
        prepare_engines([case.model_type])

    def test_it_gives_what_its_framework_gives(self, case: ScorerCase, models: Models) -> None:
        scorer = models.load()
        for rows in ROWS:
            inputs = case.inputs(rows)
            assert_equal(case, scorer.score(inputs).outputs, case.expected(1, inputs))

    def test_no_rows_give_no_rows_of_the_same_outputs(self, case: ScorerCase, models: Models) -> None:
        scorer = models.load()
        one = scorer.score(case.inputs(1)).outputs
        none = scorer.score({name: array[:0] for name, array in case.inputs(1).items()}).outputs
        assert {name: (array.dtype, array.shape) for name, array in none.items()} == {
            name: (array.dtype, (0, *array.shape[1:])) for name, array in one.items()
        }

    def test_a_row_has_the_same_answer_alone_and_among_others(self, case: ScorerCase, models: Models) -> None:
        scorer = models.load()
        many = scorer.score(case.inputs(50)).outputs
        for row in (0, 1, 49):
            alone = scorer.score({name: array[row : row + 1] for name, array in case.inputs(50).items()}).outputs
            assert_equal(case, alone, {name: array[row : row + 1] for name, array in many.items()})

    def test_what_the_signature_says_is_true(self, case: ScorerCase, models: Models) -> None:
        scorer = models.load()
        inputs = case.inputs(3)
        outputs = scorer.score(inputs).outputs
        signature = scorer.signature
        assert signature.name
        assert signature.inputs.keys() == inputs.keys()
        assert not signature.outputs or signature.outputs.keys() == outputs.keys()
        for specs, arrays in ((signature.inputs, inputs), (signature.outputs, outputs)):
            for name, spec in specs.items():
                assert spec.name == name
                assert spec.dtype == arrays[name].dtype
                if spec.shape is not None:
                    assert spec.shape[0] is None
                    pairs = zip(spec.shape, arrays[name].shape, strict=True)
                    assert all(size in (None, actual) for size, actual in pairs), (name, spec.shape)

    def test_it_scores_the_row_with_which_workers_warm_it_up(self, models: Models) -> None:
        scorer = models.load()
        outputs = scorer.score(sample_inputs(scorer.signature)).outputs
        assert {len(array) for array in outputs.values()} == {1}

    def test_inputs_that_it_cannot_score_are_an_error_in_one_line_and_nothing_worse(
        self, case: ScorerCase, models: Models
    ) -> None:
        scorer = models.load()
        with pytest.raises(ScoringError) as raised:
            scorer.score(case.wrong)
        assert str(raised.value)
        assert "\n" not in str(raised.value)
        inputs = case.inputs(2)
        assert_equal(case, scorer.score(inputs).outputs, case.expected(1, inputs))

    def test_inputs_of_other_names_are_an_error_that_names_both(self, case: ScorerCase, models: Models) -> None:
        scorer = models.load()
        wanted = next(iter(case.inputs(1)))
        with pytest.raises(ScoringError, match=f"no-such-input.*{wanted}"):
            scorer.score({"no-such-input": np.zeros(1, np.float32)})

    def test_scoring_changes_no_input(self, case: ScorerCase, models: Models) -> None:
        inputs = {name: array.copy() for name, array in case.inputs(20).items()}
        for array in inputs.values():
            array.flags.writeable = False  # as the views of Arrow's memory are
        models.load().score(inputs)
        for name, array in case.inputs(20).items():
            np.testing.assert_array_equal(inputs[name], array)

    def test_threads_score_at_once_with_several_models(self, case: ScorerCase, models: Models) -> None:
        scorers = {number: models.load(number) for number in (1, 2)}
        inputs = case.inputs(64)
        expected = {number: case.expected(number, inputs) for number in scorers}
        different = [not np.array_equal(expected[1][name], expected[2][name]) for name in expected[1]]
        assert any(different), "the models 1 and 2 of a case must differ"

        def score(turn: int) -> None:
            number, rows = turn % 2 + 1, turn % 64 + 1
            found = scorers[number].score({name: array[:rows] for name, array in inputs.items()}).outputs
            assert_equal(case, found, {name: array[:rows] for name, array in expected[number].items()})

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(score, range(200)))

    def test_it_has_the_digest_and_the_address_of_what_was_published(self, models: Models) -> None:
        scorer = models.load()
        assert scorer.digest == digest_of_path(models.path())
        assert scorer.address == str(models.path())
        assert scorer.batch_deadline is None or scorer.batch_deadline > 0

    def test_an_inline_model_scores_alike(self, case: ScorerCase, models: Models) -> None:
        path = models.path()
        content = zip_folder(path) if path.is_dir() else path.read_bytes()
        scorer = models.kept(load_scorer(models.source(path, content=content, digest=digest_of_bytes(content))))
        assert (scorer.digest, scorer.address) == (digest_of_bytes(content), "inline:m/3")
        assert_equal(case, scorer.score(case.inputs(5)).outputs, case.expected(1, case.inputs(5)))

    def test_another_model_than_the_published_one_is_refused(self, models: Models, temporary_folder: Path) -> None:
        source = models.source(models.path(), digest=digest_of_path(models.path(2)))
        with pytest.raises(DigestMismatchError, match=r"^model 'm' version 3: "):
            load_scorer(source)
        assert list(temporary_folder.iterdir()) == []

    def test_an_unknown_option_is_refused_by_name(self, case: ScorerCase, models: Models) -> None:
        source = models.source(models.path())
        options = {**case.options, "no-such-option": "1"}
        descriptor = ModelDescriptor(
            "m", case.model_type, 3, str(source.descriptor.model_source_location), options=options
        )
        with pytest.raises(ScorerOptionError, match="no-such-option"):
            load_scorer(ModelSource(descriptor, None, source.opener))

    @pytest.mark.parametrize("content", [b"", b"no model", bytes(1_000), b"PK\x03\x04 no zip file", EMPTY_ZIP])
    def test_what_is_no_model_is_refused_in_one_line(
        self, models: Models, temporary_folder: Path, content: bytes
    ) -> None:
        with pytest.raises(ModelLoadError, match=r"^model 'm' version 3: ") as raised:
            load_scorer(models.source(models.path(), content=content))
        assert "\n" not in str(raised.value)
        assert list(temporary_folder.iterdir()) == []

    def test_a_truncated_model_is_refused(self, models: Models, temporary_folder: Path) -> None:
        path = models.path()
        content = zip_folder(path) if path.is_dir() else path.read_bytes()
        for share in (0.1, 0.5, 0.9):
            with pytest.raises(ModelLoadError, match=r"^model 'm' version 3: "):
                load_scorer(models.source(path, content=content[: int(len(content) * share)]))
        assert list(temporary_folder.iterdir()) == []

    def test_a_location_without_a_model_is_refused(self, models: Models, tmp_path: Path) -> None:
        with pytest.raises(ModelLoadError, match="nowhere"):
            load_scorer(models.source(tmp_path / "nowhere"))

    def test_a_model_is_closed_and_loaded_again(self, case: ScorerCase, models: Models, temporary_folder: Path) -> None:
        inputs = case.inputs(5)
        for number in (1, 2, 1):
            scorer = load_scorer(models.source(models.path(number)))
            assert_equal(case, scorer.score(inputs).outputs, case.expected(number, inputs))
            scorer.close()
        assert list(temporary_folder.iterdir()) == []

    def test_an_open_model_does_not_need_the_published_files(self, case: ScorerCase, models: Models) -> None:
        scorer = models.load()
        path = models.path()
        path.rename(path.with_name("moved"))
        assert_equal(case, scorer.score(case.inputs(5)).outputs, case.expected(1, case.inputs(5)))
