"""Scorers of other packages: real distributions on the path, with metadata as an installer writes it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from beam_pipeline.cli.arguments import OPTIONS
from models.artifacts.local_opener import LocalOpener
from models.errors import ScorerEntryPointError, UnknownModelTypeError
from models.model_topic.descriptor import ModelDescriptor
from models.scorers import ENTRY_POINT_GROUP, SCORER_MODULES, load_scorer, model_types, prepare_engines, runs_in_process
from models.scorers.base import ModelSource, Scorer
from tests.distributions import distributions

DOUBLING = '''
"""Doubles an input; the model is a text that names the input."""

import numpy as np

from models.scorers.base import Scores
from models.scorers.in_process import InProcessScorer, check_inputs, load_published
from models.tensors import Signature, TensorSpec

IN_PROCESS = True


def load(source):
    return load_published(source, (), lambda fetched, folder: Doubling(source.descriptor, fetched))


def prepare():
    pass


class Doubling(InProcessScorer):
    def __init__(self, descriptor, fetched):
        name = fetched.content.decode()
        inputs = {name: TensorSpec(name, np.dtype(np.float32), (None,))}
        super().__init__(descriptor, fetched.digest, Signature("double", inputs))

    def score(self, inputs):
        check_inputs(inputs, self.signature.inputs)
        return Scores({"doubled": 2 * next(iter(inputs.values()))})

    def close(self):
        pass
'''

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Installs a distribution with one module and one entry point."""
    with distributions(tmp_path, monkeypatch) as write:

        def install(package: str, model_type: str, code: str = DOUBLING, value: str | None = None) -> None:
            write(package, ENTRY_POINT_GROUP, model_type, code, value)

        yield install


def inline(model_type: str) -> ModelSource:
    return ModelSource(ModelDescriptor("m", model_type, 1), b"x", LocalOpener())


def load(model_type: str) -> Scorer:
    return load_scorer(inline(model_type))


def test_a_package_adds_a_model_type(install: Install) -> None:
    install("acme-doubling", "acme-double")
    assert set(model_types()) == {*SCORER_MODULES, "acme-double", "beam-model-handler"}
    assert runs_in_process("acme-double")
    scorer = load("acme-double")
    assert scorer.score({"x": np.array([1, 2], np.float32)}).outputs["doubled"].tolist() == [2, 4]
    assert scorer.address == "inline:m/1"


def test_what_an_option_says_does_not_depend_on_installed_packages(install: Install) -> None:
    before = OPTIONS["engines"].help
    install("acme-doubling", "acme-double")
    assert OPTIONS["engines"].help == before
    assert "tensorflow-saved-model" in before


def test_a_broken_package_is_named_when_its_type_is_used_and_not_before(
    install: Install, caplog: pytest.LogCaptureFixture
) -> None:
    install("acme-broken", "acme", code="import no_such_engine")
    assert "acme" in model_types()
    assert not runs_in_process("tensorflow-serving-rest")
    named = "entry point acme = acme_broken of package acme-broken 1.2 cannot be imported: .*no_such_engine"
    with pytest.raises(ScorerEntryPointError, match=named):
        load("acme")
    with caplog.at_level(logging.WARNING):
        prepare_engines(["acme"])
    assert "acme-broken 1.2" in caplog.text


def test_an_entry_point_that_leads_nowhere_is_named(install: Install) -> None:
    install("acme-lost", "acme", value="acme_lost:Scorers.trees")
    with pytest.raises(ScorerEntryPointError, match=r"acme = acme_lost:Scorers\.trees of package acme-lost 1\.2"):
        load("acme")


@pytest.mark.parametrize(
    ("code", "lacking"),
    [
        ("def load(source): ...\nIN_PROCESS = True", "prepare"),
        ("def load(source): ...\ndef prepare(): ...\nIN_PROCESS = 'server'", "IN_PROCESS"),
        ("", "load, prepare, IN_PROCESS"),
    ],
)
def test_a_module_that_is_not_a_scorer_is_refused_with_what_it_lacks(install: Install, code: str, lacking: str) -> None:
    install("acme-part", "acme", code=code)
    with pytest.raises(ScorerEntryPointError, match=f"is not a scorer, because it lacks {lacking};"):
        load("acme")


def test_a_built_in_type_cannot_be_claimed(install: Install) -> None:
    install("acme-thief", "tensorflow-serving-rest")
    with pytest.raises(ScorerEntryPointError, match=r"is built in.*acme-thief 1\.2.*uninstall"):
        load("tensorflow-serving-rest")


def test_two_packages_cannot_claim_one_type(install: Install) -> None:
    install("acme-one", "acme")
    install("acme-two", "acme")
    with pytest.raises(ScorerEntryPointError, match=r"acme-(one|two) 1\.2 and .*acme-(one|two) 1.2; uninstall all but"):
        load("acme")


def test_an_unknown_type_is_refused_with_the_known_ones(install: Install) -> None:
    install("acme-doubling", "acme-double")
    with pytest.raises(
        UnknownModelTypeError, match=r"'acme' is not served; known types: acme-double, beam-model-handler, .*tensorflow"
    ):
        load("acme")
