from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from models.errors import ScoringError
from models.graphs.transforms import installed_transform, transform
from tests.models.serving.graphs.graph_serving import GraphServing, error, record, values

MODULE = """
import numpy as np

def scale(columns):
    return {"scaled": columns["x"].to_numpy() * 10 + columns["a.out"].to_numpy()}

def strict(columns):
    if (columns["x"].to_numpy() > 5).any():
        raise ValueError("too much")
    return {"x": columns["x"].to_numpy()}

def short(columns):
    return {"x": np.zeros(1)}

def number(columns):
    return 7
"""
STRICT = """
steps:
  - {name: t, transform: strict}
  - {name: a, model: a, version: 1, inputs: {x: t.x}}
output: a
"""
ENTRY_POINTS = """[beam_serving.transforms]
scale-up = installed_transforms:scale
strict = installed_transforms:strict
short = installed_transforms:short
number = installed_transforms:number
broken = installed_transforms:nothing
"""


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A distribution that provides transforms, installed as pip would install it."""
    (tmp_path / "installed_transforms.py").write_text(MODULE)
    metadata = tmp_path / "installed_transforms-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: installed-transforms\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(ENTRY_POINTS)
    monkeypatch.syspath_prepend(str(tmp_path))
    installed_transform.cache_clear()
    yield
    installed_transform.cache_clear()
    sys.modules.pop("installed_transforms", None)


def test_an_installed_transform_gets_fields_and_outputs() -> None:
    graph = """
    steps:
      - {name: a, model: a, version: 1}
      - {name: t, transform: scale-up, of: a}
    output: t
    """
    results = GraphServing(graph, a=lambda x: {"out": -x}).score([record(1), record(2)])
    assert [values(one, "scaled") for one in results] == [[9.0], [18.0]]


def test_a_record_that_a_transform_refuses_spoils_no_other() -> None:
    results = GraphServing(STRICT, a=lambda x: {"out": x}).score([record(1), record(9), record(2)])
    assert [error(one) for one in results] == [None, "step 't': ValueError: too much", None]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("unknown", "transform 'unknown' is not installed on this worker; .*: broken, number, scale-up, short, strict"),
        ("broken", r"transform 'broken' \(installed_transforms:nothing\) cannot be imported"),
        ("number", "transform 'number' returned int, not a mapping of arrays"),
        ("short", r"output 'x' has shape \[1\], but 2 rows were scored"),
    ],
)
def test_what_is_no_transform_is_refused(name: str, text: str) -> None:
    with pytest.raises(ScoringError, match=text):
        transform(name, pa.RecordBatch.from_pydict({"x": [1.0, 2.0]}))
