from __future__ import annotations

from dataclasses import replace

import pytest

from models.errors import ModelLoadError
from models.scorers.servers import (
    open_inference_grpc,
    open_inference_rest,
    tensorflow_serving_grpc,
    tensorflow_serving_rest,
)
from models.scorers.servers.served_location import Address, ServedModel

GRPC = tensorflow_serving_grpc.LOCATION
REST = tensorflow_serving_rest.LOCATION


@pytest.mark.parametrize(
    ("location", "served"),
    [
        ("grpc://a:1/m", ServedModel(False, (Address("a", 1),), "m")),
        ("grpcs://a:1,b:2/m/versions/7", ServedModel(True, (Address("a", 1), Address("b", 2)), "m", version=7)),
        ("grpc://[::1]:1/m/labels/stable", ServedModel(False, (Address("::1", 1),), "m", label="stable")),
        ("grpc://a:1/W%C3%A4rme", ServedModel(False, (Address("a", 1),), "Wärme")),
    ],
)
def test_a_grpc_location_names_addresses_model_and_version_or_label(location: str, served: ServedModel) -> None:
    assert GRPC.parse(location) == served


@pytest.mark.parametrize(
    ("location", "served"),
    [
        ("http://a:1/v1/models/m", ServedModel(False, (Address("a", 1),), "m")),
        ("https://a/v1/models/m:predict", ServedModel(True, (Address("a", 443),), "m")),
        ("http://a,b:2/v1/models/m", ServedModel(False, (Address("a", 80), Address("b", 2)), "m")),
        ("http://a:1/v1/models/m/versions/3:predict", ServedModel(False, (Address("a", 1),), "m", version=3)),
        ("http://a:1/x/y/v1/models/m/labels/l", ServedModel(False, (Address("a", 1),), "m", label="l", prefix="/x/y")),
    ],
)
def test_a_rest_location_names_addresses_model_and_version_or_label(location: str, served: ServedModel) -> None:
    assert REST.parse(location) == served


def test_the_versions_of_the_open_inference_protocol_are_texts() -> None:
    pinned = ServedModel(True, (Address("a", 1), Address("b", 2)), "m", label="v3")
    assert open_inference_grpc.LOCATION.parse("grpcs://a:1,b:2/m/versions/v3") == pinned
    for end in ("", "/infer"):
        location = f"https://a:1,b:2/x/v2/models/m/versions/v3{end}"
        assert open_inference_rest.LOCATION.parse(location) == replace(pinned, prefix="/x")
        assert open_inference_rest.LOCATION.parse(f"http://a/v2/models/m{end}").label is None
    for form, wrong in (
        (open_inference_grpc.LOCATION, "grpc://a:1/m/labels/stable"),
        (open_inference_rest.LOCATION, "http://a/v1/models/m"),
    ):
        with pytest.raises(ModelLoadError, match="is not of the form"):
            form.parse(wrong)


@pytest.mark.parametrize(
    "location",
    [
        "",
        "http://a:1/m",
        "grpc://a/m",
        "grpc://a:0/m",
        "grpc://a:70000/m",
        "grpc://user:secret@a:1/m",
        "grpc://a:1,/m",
        "grpc://a:1",
        "grpc://a:1/",
        "grpc://a:1/m/versions/latest",
        "grpc://a:1/m/versions/1/labels/l",
        "grpc://a:1/m?x=y",
    ],
)
def test_a_malformed_location_is_rejected_with_the_expected_form(location: str) -> None:
    with pytest.raises(ModelLoadError, match="/MODEL"):
        GRPC.parse(location)


def test_an_inline_model_without_a_location_is_rejected() -> None:
    with pytest.raises(ModelLoadError, match="needs a modelSourceLocation"):
        REST.parse(None)
