"""JSON transactions, any field of which may be null; results keyed by coordinates; records wait for new models."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from models.kafka.client import KafkaSettings
from runners.local.kafka_broker import LocalBroker
from tests.end_to_end.conftest import make_deployment
from tests.end_to_end.deployment import Deployment
from tests.saved_models import save_fraud_model

SaveVersion = Callable[..., Path]
FEATURES = (*(f"v{number}" for number in range(1, 29)), "amount")
NAME = "transaction"
MEGABYTE = 1024 * 1024
LARGE = 24 * MEGABYTE


@pytest.fixture(scope="module")
def transactions(
    broker: LocalBroker, prism_location: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    """The deployment of this module, running; its topics of records, results and dead letters accept 24 MB."""
    large = {"max.message.bytes": str(LARGE)}
    deployment = make_deployment(
        KafkaSettings(broker.bootstrap_servers),
        prism_location,
        "transaction",
        tmp_path_factory.mktemp("transactions"),
        record_format="json",
        options={"on-update": "wait", "result-key": "coordinates"},
        topic_config={"records": large, "results": large, "dead-letters": large},
    )
    try:
        deployment.start()
        deployment.score({"transaction_id": "first"})
        yield deployment
    finally:
        deployment.close()


def transaction(name: str = "t", **features: float | None) -> dict[str, Any]:
    return {"transaction_id": name, **dict.fromkeys(FEATURES, 1.0), **features}


def test_records_wait_while_a_new_model_loads(transactions: Deployment, version_model: SaveVersion) -> None:
    for version, load_delay in ((1, 0.0), (2, 3.0)):
        transactions.publish(NAME, version_model(version, load_delay=load_delay), {"x": ("amount",)})
        transactions.status("loading", NAME, version)
        # The load has begun and the records come now: none is scored by the version before.
        results = transactions.score(*[transaction()] * 20)
        assert [result.version for result in results] == [version] * 20
        assert all(result.values("version") == [version] for result in results)


def test_nulls_and_absent_fields_are_not_a_number_to_the_model_and_null_in_the_result(
    transactions: Deployment, tmp_path: Path
) -> None:
    version = transactions.publish(NAME, save_fraud_model(tmp_path / "model"), {"transaction": FEATURES}).model_version
    transactions.status("serving", NAME, version)
    full, null, absent = transactions.score(
        transaction("full", v3=0.5), transaction("null", v3=None), {"transaction_id": "absent"}
    )
    assert [result.error for result in (full, null, absent)] == [None] * 3
    assert full.values("predictions") == [0.5, 0.5, 0.25, *[0.5] * 26]
    assert null.values("predictions") == [0.5, 0.5, None, *[0.5] * 26]
    assert absent.values("predictions") == [None] * 29
    assert null.record["v3"] is None
    assert absent.record == {"transaction_id": "absent"}


def test_results_are_keyed_by_coordinates_and_carry_the_records_key_in_a_header(transactions: Deployment) -> None:
    (offset,) = transactions.send([transaction()], key=b"card", headers=(("trace", b"1"),))
    (result,) = transactions.results_of([offset])
    assert result.key == f"{transactions.topic('records')}-0-{offset}".encode()
    assert result.headers == (("trace", b"1"), ("record.key", b"card"))


@pytest.mark.parametrize(
    "malformed",
    [b'{"transaction_id": 7}', b'{"transaction_id": "x", "amount": NaN}', b"[]", b"{", b"\xff", b"{}", None],
)
def test_malformed_json_becomes_a_dead_letter(transactions: Deployment, malformed: bytes | None) -> None:
    (offset,) = transactions.send_bytes([malformed])
    assert transactions.dead_letters([offset])[offset].value == malformed


@pytest.mark.parametrize(
    "malformed",
    [
        rb'{"transaction_id":"a","amount":"\ud800"}',
        rb'{"transaction_id":"\udfff","amount":1.0}',
        rb'{"transaction_id":"a","amount":1.0,"\ud800":[{"deep":"\ud800"}]}',
    ],
)
def test_a_lone_surrogate_becomes_a_dead_letter_and_the_records_around_it_are_scored(
    transactions: Deployment, malformed: bytes
) -> None:
    good = [transactions.schema.codec.encode(transaction(f"good{number}")) for number in range(4)]
    offsets = transactions.send_bytes([*good[:2], malformed, *good[2:]])
    letter = transactions.dead_letters([offsets[2]])[offsets[2]]
    assert letter.value == malformed
    assert "a lone surrogate" in letter.reason
    results = transactions.results_of([*offsets[:2], *offsets[3:]])
    assert [result.record["transaction_id"] for result in results] == ["good0", "good1", "good2", "good3"]


def test_a_record_of_10_mb_is_scored(transactions: Deployment) -> None:
    name = "x" * 10 * MEGABYTE
    large, after = transactions.score(transaction(name), transaction("after"))
    assert large.record["transaction_id"] == name
    assert after.record["transaction_id"] == "after"


def test_a_malformed_record_of_10_mb_becomes_a_dead_letter(transactions: Deployment) -> None:
    value = json.dumps({"no_transaction": "x" * 10 * MEGABYTE}).encode()
    (offset,) = transactions.send_bytes([value])
    assert transactions.dead_letters([offset])[offset].value == value
