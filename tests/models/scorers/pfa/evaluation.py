"""Scores documents in tests, on the data that Titus also receives."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from models.scorers.pfa.document import read_document
from models.scorers.pfa.exchange import Exchange
from tests.models.scorers.pfa.oracle import Titus

Document = Mapping[str, Any]


def exchange_of(document: Document) -> Exchange:
    return Exchange.of(read_document(json.dumps(document).encode()))


def inputs_of(exchange: Exchange, data: Sequence[Any]) -> dict[str, Any]:
    """Data in JSON form as arrays of inputs."""
    named = list(data) if isinstance(data[0], dict) else [{"input": one} for one in data]
    inputs: dict[str, Any] = {}
    for name, spec in exchange.signature.inputs.items():
        values = [_plain(one[name]) for one in named]
        if spec.dtype == object:
            inputs[name] = np.empty(len(values), object)
            inputs[name][:] = [b"" if value is None else value.encode() for value in values]
        else:
            inputs[name] = np.array([np.nan if value is None else value for value in values], spec.dtype)
    return inputs


def _plain(value: Any) -> Any:
    return next(iter(value.values())) if isinstance(value, dict) else value


def scored(document: Document, data: Sequence[Any]) -> dict[str, list[Any]]:
    """The outputs as lists: texts, numbers, lists of numbers, and None for null."""
    exchange = exchange_of(document)
    outputs = exchange.outputs(inputs_of(exchange, data), len(data))
    specs = exchange.signature.outputs
    assert {name: array.dtype for name, array in outputs.items()} == {name: spec.dtype for name, spec in specs.items()}
    return {
        name: [one.decode() for one in array.tolist()] if array.dtype == object else array.tolist()
        for name, array in outputs.items()
    }


def assert_as_titus(titus: Titus, document: Document, data: Sequence[Any], tolerance: float = 1e-12) -> None:
    """Fails unless our outputs equal those of Titus."""
    found = scored(document, data)
    for place, wanted in enumerate(titus.values(document, data)):
        parts = wanted if found.keys() != {"output"} else {"output": wanted}
        for name, values in found.items():
            assert_same(values[place], _plain(parts[name]), tolerance, f"row {place}, {name}")


def assert_same(found: Any, wanted: Any, tolerance: float, where: str) -> None:
    if isinstance(wanted, list):
        assert len(found) == len(wanted), where
        for one, other in zip(found, wanted, strict=True):
            assert_same(one, other, tolerance, where)
    elif isinstance(wanted, (bool, str)) or isinstance(found, str):
        assert found == ("" if wanted is None else wanted), where
    else:
        np.testing.assert_allclose(found, np.nan if wanted is None else wanted, tolerance, tolerance, err_msg=where)


def engine(action: Any, input_type: Any = "double", output: Any = "double", **more: Any) -> dict[str, Any]:
    """A document."""
    return {"input": input_type, "output": output, "action": action, **more}


def record(name: str, **fields: Any) -> dict[str, Any]:
    """The type of a record."""
    return {"type": "record", "name": name, "fields": [{"name": key, "type": kind} for key, kind in fields.items()]}


def array(items: Any) -> dict[str, Any]:
    """The type of an array."""
    return {"type": "array", "items": items}


def mapping(values: Any) -> dict[str, Any]:
    """The type of a map."""
    return {"type": "map", "values": values}


def function(parameters: Mapping[str, Any], returns: Any, body: Any) -> dict[str, Any]:
    """A function."""
    return {"params": [{name: kind} for name, kind in parameters.items()], "ret": returns, "do": body}
