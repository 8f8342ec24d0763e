"""Models in files, for `beam-serving models apply`: which versions the models topic has, and which are live, declared.

models:
  wine:
    live: 2            # `null` retires the model; without it, the live version is left as it is
    versions:
      1: {type: onnx, location: "s3://models/wine/1"}
      2:
        type: tensorflow-saved-model
        location: s3://models/wine/2
        signature: predict
        inputs: {inputs: [alcohol, pH]}
        outputs: {quality: dense_3}
        options: {max-batch: 500}
        data-type: wine
        description: trained on the harvest of 2026
        golden: wine-2.golden.jsonl      # beside this file
        tolerance: 0.001
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from beam_pipeline.publishing.drafts import Draft
from beam_pipeline.publishing.file_entries import mapping_of
from beam_pipeline.publishing.golden_file import DEFAULT_TOLERANCE, read_golden
from models.errors import DescriptorError, OptionsError
from models.model_topic.golden import GoldenSamples
from models.model_topic.names import check_model_name
from models.scorers import model_types

LiveVersion = int | None | Literal["unchanged"]
"""The number of a live version, or None for a retired model, or a declaration that says neither."""

_MODEL_KEYS = ("versions", "live")
_TEXTS = ("type", "location", "data-type", "signature", "description")
_VERSION_KEYS = (*_TEXTS, "inputs", "outputs", "options", "golden", "tolerance")


@dataclass(frozen=True)
class DeclaredVersion:
    """A version that the models topic should have, under this number."""

    number: int
    draft: Draft


@dataclass(frozen=True)
class DeclaredModel:
    """A model as a file declares it: its versions in the order of their numbers, and the one that should be live."""

    name: str
    versions: tuple[DeclaredVersion, ...]
    live: LiveVersion


def models_of(where: str, content: object, folder: Path) -> list[DeclaredModel]:
    """The models under `models` of a file.

    Args:
      where: the place of the entry, for errors.
      content: the entry.
      folder: the folder of the file, where files of golden samples are.

    Raises:
      OptionsError: it is malformed; the message names the place.
    """
    models = mapping_of(where, content, None)
    return [_model(f"{where}: {name}", str(name), entry, folder) for name, entry in models.items()]


def _model(where: str, name: str, entry: object, folder: Path) -> DeclaredModel:
    model = mapping_of(where, entry, _MODEL_KEYS)
    try:
        check_model_name(name)
    except DescriptorError as error:
        raise OptionsError(f"{where}: {error}") from error
    versions = mapping_of(f"{where}: versions", model.get("versions", {}), None)
    numbers = sorted(_number(f"{where}: versions", number) for number in versions)
    declared = [
        DeclaredVersion(number, _draft(f"{where}: versions: {number}", name, versions[number], folder))
        for number in numbers
    ]
    live = model.get("live", "unchanged")
    if "live" in model and live is not None:
        live = _number(f"{where}: live", live)
    return DeclaredModel(name, tuple(declared), live)


def _number(where: str, given: object) -> int:
    if type(given) is not int or given < 1:
        raise OptionsError(f"{where}: a version must be a whole number from 1, not {given!r}")
    return given


def _draft(where: str, name: str, entry: object, folder: Path) -> Draft:
    version = mapping_of(where, entry, _VERSION_KEYS)
    for key in _TEXTS:
        if key in version and (not isinstance(version[key], str) or not version[key]):
            raise OptionsError(f"{where}: `{key}` must be a text, not {version[key]!r}")
    for key in ("type", "location"):
        if key not in version:
            raise OptionsError(f"{where}: `{key}` is missing")
    if version["type"] not in model_types():
        raise OptionsError(f"{where}: `type` {version['type']!r} is not one of {', '.join(model_types())}")
    return Draft(
        name=name,
        model_type=version["type"],
        location=version["location"],
        data_type=version.get("data-type"),
        signature=version.get("signature"),
        inputs=_inputs(f"{where}: inputs", version.get("inputs", {})),
        outputs=_texts(f"{where}: outputs", version.get("outputs", {})),
        options=_texts(f"{where}: options", version.get("options", {})),
        description=version.get("description"),
        golden=_golden(where, version, folder),
    )


def _inputs(where: str, entry: object) -> dict[str, tuple[str, ...]]:
    found = {}
    for name, given in mapping_of(where, entry, None).items():
        fields = given if isinstance(given, list) else [given]
        if not fields or not all(isinstance(field, str) and field for field in fields):
            raise OptionsError(f"{where}: {name} must be the name of a field or a list of them, not {given!r}")
        found[str(name)] = tuple(fields)
    return found


def _texts(where: str, entry: object) -> dict[str, str]:
    found = {}
    for name, given in mapping_of(where, entry, None).items():
        if not isinstance(given, (str, int, float)):
            raise OptionsError(f"{where}: {name} must be a text or a number, not {given!r}")
        # As in a shell, and not as Python writes it.
        found[str(name)] = str(given).lower() if isinstance(given, bool) else str(given)
    return found


def _golden(where: str, version: Mapping[str, Any], folder: Path) -> GoldenSamples | None:
    if "golden" not in version:
        if "tolerance" in version:
            raise OptionsError(f"{where}: `tolerance` needs `golden`, whose outputs it applies to")
        return None
    if not isinstance(version["golden"], str):
        raise OptionsError(f"{where}: `golden` must be the name of a file")
    tolerance = version.get("tolerance", DEFAULT_TOLERANCE)
    if type(tolerance) not in (int, float) or not 0 <= tolerance < math.inf:
        raise OptionsError(f"{where}: `tolerance` must be a number from 0, not {tolerance!r}")
    return read_golden(str(folder / version["golden"]), float(tolerance))
