"""More models than the memory budget of a worker holds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.end_to_end.conftest import Deploy
from tests.end_to_end.test_updates import record, serve

SaveVersion = Callable[..., Path]
MODELS = 3


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
