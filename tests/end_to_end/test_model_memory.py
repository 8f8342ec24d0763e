"""More models than fit in the memory budget of a worker."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from models.model_topic.descriptor import ModelDescriptor
from tests.end_to_end.conftest import Deploy
from tests.end_to_end.test_updates import X, record, serve

SaveVersion = Callable[..., Path]
MODELS = 3
HUNDRED, MEGABYTES, BUDGET = 100, 2, 50


def test_models_above_the_budget_are_unloaded_and_loaded_again_for_their_records(
    deploy: Deploy, version_model: SaveVersion
) -> None:
    serving = deploy(options={"model-memory": 1, "model-wait": 60})
    serving.start()
    names = [f"memory-{number}" for number in range(1, MODELS + 1)]
    for version, name in enumerate(names, 1):
        assert serve(serving, name, version_model(version)) == 1
    for version, name in enumerate(names, 1):
        (result,) = serving.score(record(name))
        assert (result.error, result.values("version")) == (None, [version])
    mixed = serving.score(*(record(name) for name in names for _ in range(3)))
    assert [one.values("version") for one in mixed] == [[version] for version in range(1, MODELS + 1) for _ in range(3)]
    assert serving.status("unloaded", names[0], 1)


def test_a_hundred_models_answer_their_own_records_with_memory_for_twenty_or_fewer(
    deploy: Deploy, tmp_path: Path
) -> None:
    serving = deploy(options={"model-memory": BUDGET, "model-wait": 60, "engines": "onnx"})
    for number in range(1, HUNDRED + 1):
        model = _large_constant(tmp_path / f"{number}.onnx", number)
        name = f"hundred-{number}"
        serving.models.publish(
            ModelDescriptor(name, "onnx", 1, model_source_location=str(model), data_type=name, inputs=X)
        )
    serving.start()
    chosen = random.Random(20261129)
    for records in (HUNDRED, HUNDRED):
        numbers = [chosen.randint(1, HUNDRED) for _ in range(records)]
        results = serving.score(*(record(f"hundred-{number}") for number in numbers))
        assert [(one.error, one.values("y")) for one in results] == [(None, [float(number)]) for number in numbers]
    unloaded = {one.model_name for one in serving.all_status() if one.kind == "unloaded"}
    assert len(unloaded) >= HUNDRED * 3 // 4


def _large_constant(path: Path, number: int) -> Path:
    """A two-megabyte model, which looks its only answer up in a table."""
    table = numpy_helper.from_array(np.full(MEGABYTES * 250_000, number, np.float32), "table")
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "x"], ["y"])],
        "constant",
        [helper.make_tensor_value_info("x", TensorProto.INT64, [None])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None])],
        [table],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path
