"""The MOJO files created by train.py, rows for them, and the answers of genmodel's EasyPredict, row by row."""

from __future__ import annotations

import io
import shutil
import zipfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from models.java_machine import java_class
from models.scorers.h2o_mojo.jars import usable_jars
from models.tensors import Array
from runners.local.h2o_jars import h2o_jars

DATA = Path(__file__).parent / "data"
NUMBERS = ("alcohol", "ph", "sugar")
GRAPES = ("merlot", "pinot noir", "riesling", "grüner veltliner")
REGIONS = tuple(f"region {number:02}" for number in range(30))
LEVELS = {"grape": GRAPES, "region": REGIONS}
MISSING_SHARE = 0.15


def mojo(name: str) -> bytes:
    """The content of a file; fetches the jars, so that it can be scored."""
    h2o_jars()
    return (DATA / f"{name}.zip").read_bytes()


def save_mojo(name: str, target: Path) -> Path:
    """Copies a file; fetches the jars, so that it can be scored."""
    h2o_jars()
    shutil.copyfile(DATA / f"{name}.zip", target)
    return target


_CONSTANT = """[info]
mojo_version = 1.00
algo = glm
algorithm = Generalized Linear Modeling
category = Regression
uuid = 1
supervised = true
n_features = 1
n_classes = 1
n_columns = 2
n_domains = 0
balance_classes = false
default_threshold = 0.5
use_all_factor_levels = false
cats = 0
cat_offsets = [0]
nums = 1
mean_imputation = true
num_means = [0.0]
beta = [0.0, {number}]
family = gaussian
link = identity

[columns]
x
y

[domains]
"""


def constant(number: float) -> bytes:
    """A MOJO file, written by hand, with the same prediction for any number `x`."""
    h2o_jars()
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as written:
        written.writestr("model.ini", _CONSTANT.format(number=float(number)))
    return target.getvalue()


def changed(content: bytes, changes: Mapping[str, tuple[str, str] | None]) -> bytes:
    """A MOJO file in which a text is replaced in some entries; an entry with None is left out."""
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as read, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as written:
        for name in read.namelist():
            data = read.read(name)
            change = changes.get(name, ("", ""))
            if change is None:
                continue
            before, after = (text.encode() for text in change)
            assert before in data, before
            written.writestr(name, data.replace(before, after) if before else data)
    return target.getvalue()


def with_ini(content: bytes, before: str, after: str) -> bytes:
    """A MOJO file with a changed model.ini."""
    return changed(content, {"model.ini": (before, after)})


def texts(values: Any) -> Array:
    """Texts in the form of inputs: an array of bytes."""
    array = np.empty(len(values), object)
    array[:] = [value.encode() for value in values]
    return array


@cache
def rows_of(count: int, unknown: float = 0.0) -> dict[str, Array]:
    """Rows with missing values and this share of unknown levels; the first rows are the same for each count."""
    rows: dict[str, list[Any]] = {name: [] for name in (*NUMBERS, *LEVELS)}
    for number in range(count):
        random = np.random.default_rng(number)
        for name, mean, spread in zip(NUMBERS, (11.0, 3.3, 8.0), (3.0, 0.4, 6.0), strict=True):
            rows[name].append(np.nan if random.random() < MISSING_SHARE else random.normal(mean, spread))
        for name, levels in LEVELS.items():
            level = levels[random.integers(len(levels))]
            level = "unheard of" if random.random() < unknown else level
            rows[name].append("" if random.random() < MISSING_SHARE else level)
    return {name: texts(values) if name in LEVELS else np.array(values) for name, values in rows.items()}


def easy_predict(content: bytes, inputs: Mapping[str, Array], unknown_is_missing: bool = False) -> list[Any]:
    """EasyPredict's answer for each row: its prediction, or its exception.

    It shares only the models' score0 with our code.
    """
    wrapper, failure = _wrapper(content, unknown_is_missing), _class("java.lang.Exception")
    return [_predicted(wrapper, row, failure) for row in _row_data(inputs)]


@cache
def _wrapper(content: bytes, unknown_is_missing: bool) -> Any:
    import tempfile

    wrapper = _class("hex.genmodel.easy.EasyPredictModelWrapper")
    with tempfile.NamedTemporaryFile(suffix=".zip") as file:
        file.write(content)
        file.flush()
        model = _class("hex.genmodel.MojoModel").load(file.name)
    config = _class("hex.genmodel.easy.EasyPredictModelWrapper$Config")().setModel(model)
    return wrapper(config.setConvertUnknownCategoricalLevelsToNa(unknown_is_missing))


def _row_data(inputs: Mapping[str, Array]) -> list[Any]:
    row_class, number_class = _class("hex.genmodel.easy.RowData"), _class("java.lang.Double")
    found = []
    for number in range(len(next(iter(inputs.values())))):
        row = row_class()
        for name, values in inputs.items():
            value = values[number]
            if isinstance(value, bytes) and value:
                row.put(name, value.decode())
            elif not isinstance(value, bytes) and not np.isnan(value):
                row.put(name, number_class(float(value)))
        found.append(row)
    return found


def _predicted(wrapper: Any, row: Any, failure: Any) -> Any:
    try:
        return wrapper.predict(row)
    except failure as error:
        return error


@cache
def _class(name: str) -> Any:
    return java_class(name, usable_jars())
