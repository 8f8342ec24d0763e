"""A Kafka broker that goes away in mid-stream and returns."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from models.kafka.client import KafkaSettings
from runners.local.kafka_broker import LocalBroker
from tests.end_to_end.conftest import Deploy
from tests.end_to_end.test_updates import X, record

SaveVersion = Callable[..., Path]


@pytest.fixture
def own_broker() -> Iterator[LocalBroker]:
    with LocalBroker() as running:
        yield running


def test_a_broker_restart_loses_nothing_and_is_said_once(
    deploy: Deploy, own_broker: LocalBroker, version_model: SaveVersion
) -> None:
    deployment = deploy(kafka=KafkaSettings(own_broker.bootstrap_servers))
    deployment.publish("steady", version_model(1), X)
    process = deployment.start()
    deployment.score(record("steady"))
    acknowledged: list[list[int]] = []
    done = threading.Event()

    def send() -> None:
        while not done.wait(0.02):
            acknowledged.append(deployment.send_later([deployment.schema.codec.encode(record("steady"))] * 10))

    thread = threading.Thread(target=send)
    thread.start()
    try:
        own_broker.kill()
        deployment.eventually(lambda: "does not answer" in process.log(), "the broker is missed")
        own_broker.start()
        before = len(deployment.results_to_the_end())
        deployment.eventually(lambda: len(deployment.results_to_the_end()) >= before + 500, "records flow again")
    finally:
        done.set()
        thread.join()
    deployment.send([record("steady")])
    sent = sorted(offset for offsets in acknowledged for offset in offsets)
    results = deployment.results_of(sent)
    assert all((result.error, result.version) == (None, 1) for result in results)
    serving = deployment.publish("steady", version_model(2), X)
    deployment.status("serving", "steady", serving.model_version)
    (result,) = deployment.score(record("steady"))
    assert result.values("version") == [2]
    deployment.eventually(lambda: deployment.committed() == result.where[1] + 1, "all is committed")
    assert process.runs()
    assert process.log().count("does not answer") == 1
    assert process.log().count("answers again") == 1
