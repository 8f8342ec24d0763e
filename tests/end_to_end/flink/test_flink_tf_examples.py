"""Serialized examples on a cluster: features, and models that parse the examples themselves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from runners.flink.cluster import LocalFlinkCluster
from tests.end_to_end.flink.conftest import DeployOnFlink
from tests.saved_models import save_example_model, save_recommender

pytest.importorskip("tfx_bsl", reason="tfx-bsl exists for Python 3.11 and later")

SCHEMA = """
feature { name: "user" type: INT shape {} presence { min_fraction: 1 } }
feature { name: "products" type: INT value_count { min: 0 } }
feature { name: "amount" type: FLOAT shape {} }
feature { name: "dataType" type: BYTES shape {} }
"""


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_examples_are_scored_on_a_cluster(
    make_cluster: Callable[..., LocalFlinkCluster], deploy: DeployOnFlink, tmp_path: Path
) -> None:
    schema = tmp_path / "recommender.pbtxt"
    schema.write_text(SCHEMA)
    deployment = deploy(
        make_cluster(slots=2), 2, record_format="tf-example", schema=str(schema), **{"record-schema": str(schema)}
    )
    inputs = {"users": ("user",), "products": ("products",)}
    deployment.publish("recommender", save_recommender(tmp_path / "recommender"), inputs)
    deployment.publish("parsing", save_example_model(tmp_path / "parsing"), {}, inline=False)
    deployment.start()
    deployment.results_of(deployment.send([{"user": 0}]), seconds=150.0)  # a job starts slowly on a busy machine
    deployment.status("serving", "recommender", 1)
    deployment.status("serving", "parsing", 1)
    encode = deployment.schema.codec.encode
    values = [
        encode({"user": 7, "products": [1000, 2000]}),
        b"\xff",
        encode({"user": 7, "amount": 2.5, "dataType": "parsing"}),
        encode({"user": 8, "products": []}),
    ]
    offsets = deployment.send_bytes(values, partition=3)
    by_fields, parsing, empty = deployment.results_of([offsets[0], offsets[2], offsets[3]], partition=3)
    assert [one.error for one in (by_fields, parsing, empty)] == [None] * 3
    assert by_fields.values("predictions") == [8.0, 9.0]
    assert parsing.values("doubled") == [5.0]
    assert empty.values("predictions") == []
    assert by_fields.embedded == values[0]
    (letter,) = deployment.dead_letters([offsets[1]]).values()
    assert letter.value == b"\xff"
