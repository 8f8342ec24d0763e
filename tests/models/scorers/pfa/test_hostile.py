"""Files that are not models, or are malicious, are rejected with a reason; records cannot do harm, either."""

from __future__ import annotations

import json
from typing import Any
from unittest.mock import patch

import pytest

from models.errors import ModelLoadError, ScoringError
from models.scorers.pfa import columns, elements, nodes
from models.scorers.pfa.document import read_document
from tests.models.scorers.pfa.evaluation import array, engine, function, scored

DEEP = "[" * 100_000 + "]" * 100_000
FILES: dict[str, tuple[str | bytes, str]] = {
    "empty": ("", "not JSON"),
    "yaml": ("input: double\noutput: double\naction: input\n", "not JSON"),
    "cut off": ('{"input": "double", "action": [', "not JSON, or is truncated"),
    "deep": (DEEP, "200 levels"),
    "deep in a text": ('{"input": "' + "[" * 1_000 + '"}', "not a PFA engine"),
    "no object": ("[1, 2]", "not a PFA engine"),
    "no engine": ('{"a": 1}', "not a PFA engine"),
    "twice": ('{"input": "int", "input": "double"}', "'input' occurs twice"),
    "NaN": ('{"input": NaN}', "NaN is not a JSON number"),
    "infinite": ('{"input": 1e999}', "1e999 is not finite"),
    "long number": ('{"input": ' + "9" * 10_000 + "}", "is too long"),
    "not UTF-8": (b'{"input": "\xff"}', "not JSON"),
}


@pytest.mark.parametrize("kind", FILES)
def test_it_is_refused(kind: str) -> None:
    content, reason = FILES[kind]
    with pytest.raises(ModelLoadError, match=reason) as raised:
        read_document(content.encode() if isinstance(content, str) else content)
    assert "\n" not in str(raised.value)


def test_a_huge_file_is_not_parsed() -> None:
    with patch.object(elements, "MOST_BYTES", 10), pytest.raises(ModelLoadError, match="the limit is 10"):
        read_document(b"[" * 11)


def test_a_file_of_too_many_values_is_not_parsed() -> None:
    with patch.object(elements, "MOST_VALUES", 50), pytest.raises(ModelLoadError, match="50 values"):
        read_document(json.dumps(list(range(100))).encode())


def test_functions_that_call_each_other_twice_at_each_of_many_levels_are_refused() -> None:
    fcns = {
        f"f{n}": function({"x": "double"}, "double", {"+": [{f"u.f{n + 1}": "x"}, {f"u.f{n + 1}": "x"}]})
        for n in range(40)
    }
    fcns["f40"] = function({"x": "double"}, "double", "x")
    document = json.dumps(engine({"u.f0": "input"}, fcns=fcns)).encode()
    with (
        patch.object(nodes, "MOST_EXPRESSIONS", 5_000),
        pytest.raises(ModelLoadError, match="expand to more than 5000"),
    ):
        read_document(document)


def test_functions_that_call_each_other_too_deeply_are_refused() -> None:
    fcns = {f"f{n}": function({"x": "double"}, "double", {f"u.f{n + 1}": "x"}) for n in range(100)}
    fcns["f100"] = function({"x": "double"}, "double", "x")
    with pytest.raises(ModelLoadError, match="more than 50 levels deep"):
        read_document(json.dumps(engine({"u.f0": "input"}, fcns=fcns)).encode())


def doubling(start: Any, name: str, times: int) -> list[Any]:
    lets: list[Any] = [{"let": {"v0": start}}]
    lets += [{"let": {f"v{n + 1}": {name: [f"v{n}", f"v{n}"]}}} for n in range(times)]
    return lets


def test_arrays_that_double_again_and_again_are_an_error() -> None:
    document = engine([*doubling({"new": ["input"], "type": array("double")}, "a.concat", 40), {"a.len": "v40"}])
    with patch.object(columns, "MOST_ITEMS", 5_000), pytest.raises(ScoringError, match="the limit is 5000"):
        scored(document, [1.0])


def test_texts_that_double_again_and_again_are_an_error() -> None:
    document = engine([*doubling("input", "s.concat", 40), {"s.len": "v40"}], "string", "int")
    with pytest.raises(ScoringError, match="more than 1000000 characters"):
        scored(document, ["ab"])


def test_a_large_constant_is_not_repeated_for_each_row() -> None:
    cells = {"c": {"type": array("double"), "init": [1.0] * 20_000}}
    with pytest.raises(ModelLoadError, match="constant of more than 10000 values"):
        read_document(json.dumps(engine({"a.sum": {"cell": "c"}}, cells=cells)).encode())
    picked = engine({"cell": "c", "path": [{"cast.int": "input"}]}, cells=cells)
    assert scored(picked, [19_999.0])["output"] == [1.0]
