"""Checks a MOJO file before Java reads it: a zip file with a model.ini that describes the model."""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from models.artifacts.archive import check_archive
from models.errors import ModelLoadError
from models.scorers.in_process import names_text
from models.text import clean_text

MODEL_INI = "model.ini"
MOST_INI_BYTES = 64 * 1024**2
# The algorithms with a file for each tree.
_FORESTS = ("gbm", "drf", "isolationforest")
# The algorithms whose answers our tests compare with EasyPredict's.
ALGORITHMS = {
    "gbm": "GBM",
    "drf": "DRF",
    "glm": "GLM",
    "deeplearning": "deep learning",
    "kmeans": "k-means",
    "isolationforest": "isolation forest",
    "extendedisolationforest": "extended isolation forest",
    "stackedensemble": "stacked ensemble",
    "xgboost": "XGBoost",
}
CATEGORIES = ("AnomalyDetection", "Binomial", "Clustering", "Multinomial", "Ordinal", "Regression")
_SHOWN = 80
_TREE = re.compile(r"trees/t[0-9]+_[0-9]+\.bin")


@dataclass(frozen=True)
class MojoInfo:
    """The content of model.ini.

    Attributes:
      algorithm: one of ALGORITHMS.
      category: one of CATEGORIES.
      trees: the number of trees for each class; 0 if the model has no tree files.
    """

    algorithm: str
    category: str
    trees: int = 0


def read_info(path: Path) -> MojoInfo:
    """Reads the description of the model in a MOJO file, and checks all entries of the file.

    Raises:
      ModelLoadError: the file is not a zip file, is cut off or damaged, unpacks to more than is allowed, has no
        model.ini or one that contradicts itself, or contains a model that is not served.
    """
    check_archive(path)
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()  # Java does not compare the checksums
            if damaged is not None:
                raise ModelLoadError(f"the entry {clean_text(damaged, _SHOWN)!r} of the file is damaged")
            info = info_of(_ini(archive))
            _check_trees(info, set(archive.namelist()))
            return info
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, NotImplementedError) as error:
        raise ModelLoadError(f"the file cannot be read: {clean_text(str(error)) or type(error).__name__}") from error


def info_of(text: str) -> MojoInfo:
    """Parses the text of a model.ini; raises the same errors as `read_info`."""
    sections = _sections(text)
    info = dict(_pairs(sections.get("info", [])))
    columns = _number(info, "n_columns")
    if columns != len(sections.get("columns", [])):
        raise ModelLoadError(
            f"{MODEL_INI} lists {len(sections.get('columns', []))} columns, but n_columns is {columns}"
        )
    if _number(info, "n_features") > columns:
        raise ModelLoadError(f"{MODEL_INI} has more features ({info['n_features']}) than columns ({columns})")
    algorithm, category = _text(info, "algo"), _text(info, "category")
    if algorithm not in ALGORITHMS:
        raise ModelLoadError(
            f"the algorithm {algorithm!r} is not served; served are: {names_text(ALGORITHMS.values())}"
        )
    if category not in CATEGORIES:
        raise ModelLoadError(
            f"a model of the category {category!r} is not served; served are: {names_text(CATEGORIES)}"
        )
    if _absent(info.get("offset_column")) is not None:
        raise ModelLoadError(f"the model needs the offset column {_text(info, 'offset_column')!r}, which is not served")
    return MojoInfo(algorithm, category, _number(info, "n_trees") if algorithm in _FORESTS else 0)


def _check_trees(info: MojoInfo, names: Collection[str]) -> None:
    """Raises ModelLoadError if a tree is missing, because genmodel would score without it."""
    found = {name.rpartition("_")[2] for name in names if _TREE.fullmatch(name)}
    missing = next((number for number in range(info.trees) if f"{number:03}.bin" not in found), None)
    if missing is not None:
        raise ModelLoadError(f"the file lacks tree {missing} of {info.trees}; save the model again")


def _ini(archive: zipfile.ZipFile) -> str:
    try:
        entry = archive.getinfo(MODEL_INI)
    except KeyError:
        raise ModelLoadError(f"the file has no {MODEL_INI}; save the model with save_mojo of H2O") from None
    if entry.file_size > MOST_INI_BYTES:
        raise ModelLoadError(f"{MODEL_INI} has {entry.file_size} bytes; the limit is {MOST_INI_BYTES}")
    return archive.read(entry).decode("utf-8", "replace")


def _sections(text: str) -> dict[str, list[str]]:
    sections: dict[str, list[str]] = {}
    lines: list[str] = []
    for raw in text.split("\n"):
        line = raw.strip()
        if line in ("[info]", "[columns]", "[domains]"):
            lines = sections.setdefault(line[1:-1], [])
        elif line and not line.startswith("#"):
            lines.append(line)
    return sections


def _pairs(lines: Iterable[str]) -> Iterable[tuple[str, str]]:
    for line in lines:
        name, _, value = line.partition("=")
        yield name.strip(), value.strip()


def _absent(value: str | None) -> str | None:
    return None if value in (None, "", "null") else value


def _text(info: Mapping[str, str], name: str) -> str:
    value = info.get(name)
    if not value:
        raise ModelLoadError(f"{MODEL_INI} lacks {name!r}; save the model with save_mojo of H2O")
    return clean_text(value, _SHOWN)


def _number(info: Mapping[str, str], name: str) -> int:
    text = _text(info, name)
    if not text.isdecimal() or len(text) > 9:  # longer numbers do not fit into Java's integers
        raise ModelLoadError(f"{MODEL_INI}: {name} is {text!r}, but a whole number is expected")
    return int(text)
