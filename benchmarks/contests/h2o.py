"""H2O's gradient boosting in a MOJO file, beside a loop in Java over rows that are already in Java."""

from __future__ import annotations

import io
import os
import re
import subprocess
import zipfile
from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.contests.contest import Contest
from models.java_machine import java_class
from models.scorers.h2o_mojo.jars import usable_jars
from models.tensors import Array
from runners.local.h2o_jars import h2o_jars

_MOJOS = Path(__file__).parents[2] / "tests" / "models" / "scorers" / "h2o_mojo" / "data"
_TREE = re.compile(r"(trees/t\d+_)(\d{3})((?:_aux)?\.bin)")
_SAVED_TREES = 5
_NUMBERS = {"alcohol": 11.0, "ph": 3.3, "sugar": 8.0}
# The levels in the order of the model; their indices are their codes.
_TEXTS = {
    "grape": ("grüner veltliner", "merlot", "pinot noir", "riesling"),
    "region": tuple(f"region {number:02}" for number in range(30)),
}


def small(folder: Path) -> Contest:
    """The file as saved by H2O."""
    return _contest(folder, 1)


def large(folder: Path) -> Contest:
    """The same trees twenty times over, because the package that could train more trees is not installed."""
    return _contest(folder, 20)


def _contest(folder: Path, times: int) -> Contest:
    # Java compiles in the calling thread. Its compiler's own threads wait for a core on a busy machine, and until they
    # get one the code is interpreted, at a hundredth of the speed, for longer than any warm-up.
    os.environ.setdefault("JAVA_TOOL_OPTIONS", "-Xbatch")
    jars = h2o_jars()
    path = folder / f"gbm-{times}.zip"
    path.write_bytes(_repeated((_MOJOS / "gbm_multinomial.zip").read_bytes(), times))
    model = java_class("hex.genmodel.MojoModel", usable_jars()).load(str(path))
    return Contest(
        str(path),
        partial(_compiled(folder, jars).score, model),
        "probabilities",
        columns=_columns,
        ready=_in_java,
        answer=lambda scored: np.array([list(row) for row in scored])[:, 1:],
        tolerance=0.0,
        warm_seconds=3.0,  # Java compiles code only after it has run often enough
        turn_seconds=0.5,  # in a short turn, one collection of garbage would count for much
    )


def _repeated(content: bytes, times: int) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as read, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as written:
        for name in read.namelist():
            data, tree = read.read(name), _TREE.fullmatch(name)
            for turn in range(times if tree else 1):
                again = f"{tree[1]}{int(tree[2]) + turn * _SAVED_TREES:03}{tree[3]}" if tree else name
                written.writestr(again, data.replace(b"n_trees = 5\n", b"n_trees = %d\n" % (times * _SAVED_TREES)))
    return target.getvalue()


def _compiled(folder: Path, jars: Path) -> Any:
    """The class of the loop, compiled by a JDK and loaded beside the existing classes."""
    source = Path(__file__).with_name("BareLoop.java")
    command = ["javac", "-cp", str(jars / "*"), "-d", str(folder), str(source)]
    subprocess.run(command, check=True, capture_output=True)
    import jpype

    parent = java_class("hex.genmodel.MojoModel", usable_jars()).class_.getClassLoader()
    place = jpype.JClass("java.io.File")(str(folder)).toURI().toURL()
    return jpype.JClass("BareLoop", loader=jpype.JClass("java.net.URLClassLoader")([place], parent))


@cache
def _rows(count: int) -> Mapping[str, Array]:
    random = np.random.default_rng(5)
    numbers = {name: random.normal(mean, 2.0, 2_000)[:count] for name, mean in _NUMBERS.items()}
    levels = {name: random.integers(len(known), size=2_000)[:count] for name, known in _TEXTS.items()}
    return {**numbers, **levels}


def _columns(count: int) -> pa.RecordBatch:
    rows = _rows(count)
    numbers = {name: pa.array(rows[name]) for name in _NUMBERS}
    texts = {name: pa.array(np.array(known, object)[rows[name]], pa.string()) for name, known in _TEXTS.items()}
    return pa.RecordBatch.from_pydict({**numbers, **texts})


def _in_java(count: int) -> Any:
    import jpype

    return jpype.JArray.of(np.stack([np.asarray(values, np.float64) for values in _rows(count).values()], axis=1))


BOOSTED = {
    "h2o-mojo": ("boosting of 100 rounds, 3 numbers and 2 categories", "a loop in Java", large),
    "h2o-mojo, small": ("boosting of 5 rounds, the same features", "a loop in Java", small),
}
