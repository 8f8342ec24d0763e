from __future__ import annotations

import sys
from importlib.metadata import packages_distributions

import pytest

import models.observing
from models.artifacts.local_opener import LocalOpener
from models.errors import MissingExtraError
from models.extras import EXTRA_OF, extras_named
from models.model_topic.descriptor import ModelDescriptor
from models.observing.otlp_settings import OtlpSettings
from models.observing.settings import ObservationSettings
from models.scorers import load_scorer
from models.scorers.base import ModelSource
from tests.setup_requirements import HEAVY_EXTRAS, extra


@pytest.mark.parametrize("module", sorted(module for module, name in EXTRA_OF.items() if name not in HEAVY_EXTRAS))
def test_the_extra_that_is_named_has_the_package(module: str) -> None:
    required = {requirement.name.lower() for requirement in extra(EXTRA_OF[module])}
    assert required & {name.lower() for name in packages_distributions()[module]}


@pytest.mark.parametrize(
    ("model_type", "module", "extra_name"),
    [
        ("lightgbm", "lightgbm", "lightgbm"),
        ("onnx", "onnxruntime", "onnx"),
        ("open-inference-grpc", "open_inference", "servers"),
        ("open-inference-rest", "tenacity", "servers"),
        ("sklearn", "skops", "sklearn"),
        ("tensorflow-serving-grpc", "tensorflow_serving", "servers"),
        ("tensorflow-serving-rest", "tenacity", "servers"),
        ("xgboost", "xgboost", "xgboost"),
    ],
)
def test_a_scorer_without_its_packages_names_the_extra(
    model_type: str, module: str, extra_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A module that another test has imported would be found without a check of its package.
    for name in [name for name in sys.modules if name.startswith((f"{module}.", "models.scorers."))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)  # as an import finds it that is not installed
    with pytest.raises(MissingExtraError, match=rf"{module}.* install beam-serving\[{extra_name}\]"):
        load_scorer(ModelSource(ModelDescriptor("m", model_type, 1, "nowhere"), None, LocalOpener()))


def test_an_endpoint_without_the_clients_of_opentelemetry_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith(("opentelemetry.exporter.", "models.observing.tele"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr(models.observing, "telemetry", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter", None)  # as an import finds it that is not installed
    settings = ObservationSettings(otlp=OtlpSettings("http://localhost:4318", "fraud"))
    for wanted in (OtlpSettings("http://localhost:4318", "fraud").check, settings.open):
        with pytest.raises(MissingExtraError, match=r"opentelemetry.exporter.* install beam-serving\[telemetry\]"):
            wanted()


def test_a_missing_module_outside_the_extras_keeps_pythons_error() -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such_module"), extras_named():
        import no_such_module  # type: ignore[import-not-found]  # noqa: F401
