"""Reads the file `MLmodel` of a model that MLflow has logged, without MLflow: flavours and signature.

The YAML is read as plain data, so it cannot refer to Python classes. Files that it names are only looked up in the
model's own folder.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from models.artifacts.archive import relative_name
from models.errors import ModelLoadError
from models.tensors import TensorSpec

FILE_NAME = "MLmodel"
_LARGEST = 1024 * 1024
_TEXT = np.dtype(object)

# MLflow's column types; bytes, dates, arrays, objects and maps have no counterpart in a tensor of rows.
_COLUMN_DTYPES = {
    "boolean": np.dtype(np.bool_),
    "double": np.dtype(np.float64),
    "float": np.dtype(np.float32),
    "integer": np.dtype(np.int32),
    "long": np.dtype(np.int64),
    "string": _TEXT,
}
_NUMBERS = "biuf"
_TEXTS = ("object", "str")


@dataclass(frozen=True)
class MlflowModel:
    """The content of the file.

    Attributes:
      folder: the folder of the model, with every file that the flavours name.
      flavours: the settings of each flavour, by name.
      inputs: the inputs of the signature in their order; None without a signature. A model's only tensor may be
        unnamed; its name is then "".
      columns: whether the inputs are the columns of a table; otherwise they are tensors.
    """

    folder: Path
    flavours: Mapping[str, Mapping[str, Any]] = field(repr=False)
    inputs: tuple[TensorSpec, ...] | None
    columns: bool = False

    def file(self, flavour: str, *settings: str) -> Path:
        """The file or folder that is named by the first of these settings that the flavour has.

        Raises:
          ModelLoadError: when none of them names one, or the named one is outside of the folder or missing.
        """
        named = next((self.flavours[flavour][one] for one in settings if self.flavours[flavour].get(one)), None)
        if not isinstance(named, str):
            raise ModelLoadError(f"{FILE_NAME}: flavour {flavour!r} does not say where its model is; log it again")
        path = self.folder / relative_name(named)
        if not path.exists():
            raise ModelLoadError(f"{FILE_NAME}: {named!r} of flavour {flavour!r} is missing; publish the whole folder")
        return path


def read_mlmodel(path: Path) -> MlflowModel:
    """Reads the file.

    Raises:
      ModelLoadError: when it is too large or malformed, or its signature has types that cannot be served.
    """
    described = _mapping(_plain(path), "the file")
    flavours = {str(name): _mapping(one, name) for name, one in _mapping(described.get("flavors"), "flavors").items()}
    signature = described.get("signature")
    text = None if signature is None else _mapping(signature, "signature").get("inputs")
    if text is None:
        return MlflowModel(path.parent, flavours, None)
    try:
        listed = json.loads(text)
        return MlflowModel(path.parent, flavours, _inputs(listed), any(one["type"] != "tensor" for one in listed))
    except (TypeError, ValueError, AttributeError, KeyError, RecursionError) as error:
        raise ModelLoadError(f"{FILE_NAME}: the inputs of the signature cannot be read: {error!r}") from error


def _plain(path: Path) -> Any:
    if path.stat().st_size > _LARGEST:
        raise ModelLoadError(f"{FILE_NAME} is larger than {_LARGEST} bytes")
    try:
        return yaml.safe_load(path.read_bytes())
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelLoadError(f"{FILE_NAME} is not YAML of plain data: {reason}") from error


def _mapping(value: Any, what: Any) -> Mapping[Any, Any]:
    if not isinstance(value, dict):
        raise ModelLoadError(f"{FILE_NAME}: {what} is not a mapping; log the model again with MLflow")
    return value


def _inputs(listed: Any) -> tuple[TensorSpec, ...]:
    specs = tuple(_spec(one) for one in listed)
    names = [spec.name for spec in specs]
    if not specs or len(set(names)) != len(names) or ("" in names and len(names) > 1):
        raise ModelLoadError(
            f"{FILE_NAME}: each input of the signature must have a unique name; infer the signature from a "
            "DataFrame, an array or a dict of arrays, and log the model again"
        )
    return specs


def _spec(described: Mapping[str, Any]) -> TensorSpec:
    name, kind = str(described.get("name") or ""), described["type"]
    if kind == "tensor":
        tensor = described["tensor-spec"]
        shape = tuple(None if size == -1 else int(size) for size in tensor["shape"])
        if not shape or shape[0] is not None:
            raise ModelLoadError(
                f"{FILE_NAME}: input {name!r} has the shape {list(tensor['shape'])}, whose first dimension is not of "
                "any size; infer the signature from an array of rows"
            )
        return TensorSpec(name, _tensor_dtype(name, tensor["dtype"]), shape)
    if kind not in _COLUMN_DTYPES:
        raise ModelLoadError(
            f"{FILE_NAME}: column {name!r} is of type {kind!r}, but these can be served: {', '.join(_COLUMN_DTYPES)}"
        )
    return TensorSpec(name, _COLUMN_DTYPES[kind], (None,))


def _tensor_dtype(name: str, text: str) -> np.dtype[np.generic]:
    if text in _TEXTS:
        return _TEXT
    dtype = np.dtype(text)  # raises TypeError, which the caller reports
    if dtype.kind not in _NUMBERS:
        raise ModelLoadError(f"{FILE_NAME}: input {name!r} is {text}, but numbers, booleans and texts can be served")
    return dtype
