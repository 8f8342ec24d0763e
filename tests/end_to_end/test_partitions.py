"""Several partitions, including ones added later, and the order within one."""

from __future__ import annotations

import threading
from collections import defaultdict

from confluent_kafka.admin import NewPartitions

from tests.end_to_end.conftest import Deploy
from tests.end_to_end.deployment import Deployment
from tests.end_to_end.test_updates import record


def add_partitions(deployment: Deployment, total: int) -> None:
    topic = deployment.topic("records")
    deployment.admin.create_partitions([NewPartitions(topic, total)])[topic].result(30)


def test_partitions_are_read_when_they_are_added_from_their_beginning_and_idle_ones_hold_nothing_up(
    deploy: Deploy,
) -> None:
    deployment = deploy(partitions=2)
    # The second partition has records that --start latest passes over; all of a later one are new.
    deployment.send([record("old")] * 5)
    deployment.start(start="latest")
    deployment.eventually(lambda: _is_read(deployment), "partition 0 is read")
    add_partitions(deployment, 4)
    offsets = _send_when_known(deployment, 3, 50)
    assert offsets == list(range(50))
    deployment.results_of(offsets, partition=3)
    # Partitions 1 and 2 have never had a record.
    assert {result.metadata["partition"] for result in deployment.results()} == {0, 3}
    deployment.results_of(deployment.send([record("any")], partition=2), partition=2)
    deployment.results_of(deployment.send([record("any")], partition=0), partition=0)
    assert not [result for result in deployment.results_to_the_end() if result.record["dataType"] == "old"]
    deployment.eventually(lambda: deployment.committed(partition=3) == 50, "the added partition is committed")


def _is_read(deployment: Deployment) -> bool:
    """Whether a new record is scored, so reading has begun."""
    deployment.send([record("any")])
    return bool(deployment.more_results())


def _send_when_known(deployment: Deployment, partition: int, count: int) -> list[int]:
    """Sends to a partition that was just added, which clients may not know yet."""
    deployment.refresh_producer()
    return deployment.send([record("any")] * count, partition=partition)


def test_coordinates_restore_the_order_of_a_partition_and_a_batch_keeps_it(deploy: Deploy) -> None:
    deployment = deploy(partitions=2, options={"max-batch": 50})
    sent: list[list[int]] = [[], []]

    def send(partition: int) -> None:
        for number in range(60):
            records = [record("any", user=number * 25 + place) for place in range(25)]
            sent[partition] += deployment.send(records, partition=partition)

    deployment.start()
    threads = [threading.Thread(target=send, args=[partition]) for partition in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for partition in range(2):
        deployment.results_of(sent[partition], partition)
    results = deployment.results()
    for partition in range(2):
        came = [result for result in results if result.where[0] == partition]
        # Prism guarantees the order within a batch. Batches of one partition may overtake each other.
        batches: dict[int, list[int]] = defaultdict(list)
        for result in came:
            batches[result.metadata["startTime"]].append(result.where[1])
        assert all(offsets == sorted(offsets) for offsets in batches.values())
        # Every runner preserves the coordinates.
        restored = sorted(came, key=lambda result: result.where)
        assert [result.record["user"] for result in restored] == list(range(1_500))
