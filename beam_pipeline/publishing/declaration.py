"""Declarations of models and routes in YAML files, for `beam-serving models apply`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from beam_pipeline.publishing.model_file import DeclaredModel, models_of
from beam_pipeline.publishing.route_file import routes_of
from models.errors import OptionsError
from models.model_topic.route import Generation

_KINDS = ("models", "routes")
_SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True)
class Declaration:
    """What the models topic should contain.

    Attributes:
      models: the models, in the order of the files.
      routes: the routes by data type; None for a data type whose route is to be deleted.
    """

    models: tuple[DeclaredModel, ...] = ()
    routes: Mapping[str, Generation | None] = field(default_factory=dict)


def read_declaration(path: str) -> Declaration:
    """The declaration in a file, or in all YAML files directly in a folder, such as a mounted ConfigMap.

    Raises:
      OptionsError: a file cannot be read or is malformed, or two of them declare the same model or route; the message
        names the file and the entry.
    """
    models: dict[str, DeclaredModel] = {}
    routes: dict[str, Generation | None] = {}
    for file in _files(path):
        where = f"--file {str(file)!r}"
        content = _content(where, file)
        for model in models_of(f"{where}: models", content["models"], file.parent):
            if model.name in models:
                raise OptionsError(f"{where}: models: {model.name} is declared twice")
            models[model.name] = model
        for data_type, generation in routes_of(f"{where}: routes", content["routes"]).items():
            if data_type in routes:
                raise OptionsError(f"{where}: routes: {data_type} is declared twice")
            routes[data_type] = generation
    return Declaration(tuple(models.values()), routes)


def _files(path: str) -> list[Path]:
    folder = Path(path)
    if not folder.is_dir():
        return [folder]
    found = sorted(one for one in folder.iterdir() if one.suffix in _SUFFIXES and not one.name.startswith("."))
    if not found:
        raise OptionsError(f"--file {path!r}: the folder contains no file that ends in {' or '.join(_SUFFIXES)}")
    return found


def _content(where: str, file: Path) -> dict[str, object]:
    """The content of a file by kind; a kind that is absent, or without entries, is an empty mapping."""
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise OptionsError(f"{where}: {error}") from error
    if not isinstance(content, dict) or not content or not content.keys() <= set(_KINDS):
        raise OptionsError(
            f"{where}: it must contain `models`, a mapping of names, `routes`, a mapping of data types, or both"
        )
    return {kind: {} if content.get(kind) is None else content[kind] for kind in _KINDS}
