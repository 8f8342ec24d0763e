"""Results that are larger than their topic accepts."""

from __future__ import annotations

from tests.end_to_end.conftest import Deploy


def test_a_result_that_its_topic_does_not_take_becomes_a_dead_letter_and_the_stream_goes_on(deploy: Deploy) -> None:
    # The results and dead-letter topics keep Kafka's default of 1 MB.
    deployment = deploy("transaction", topic_config={"records": {"max.message.bytes": "24000000"}})
    deployment.start()
    small, large = ({"transaction_id": "x" * size} for size in (10, 10 * 1024 * 1024))
    before, lost, after = deployment.send([small, large, small])
    deployment.results_of([before, after])
    letter = deployment.dead_letters([lost])[lost]
    assert letter.value is None
    assert "max.message.bytes" in letter.reason
    # A malformed one, whose dead letter is larger than that topic takes.
    malformed, last = deployment.send_bytes([b"\xff" * 10 * 1024 * 1024, deployment.schema.codec.encode(small)])
    assert deployment.dead_letters([malformed])[malformed].value is None
    deployment.results_of([last])
    deployment.eventually(lambda: deployment.committed() == last + 1, "all is committed")
