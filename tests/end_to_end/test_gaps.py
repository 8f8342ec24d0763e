"""Records that are gone when the pipeline reads them: expired, or lost with a recreated topic."""

from __future__ import annotations

from confluent_kafka import TopicPartition

from tests.end_to_end.conftest import Deploy
from tests.end_to_end.deployment import Deployment
from tests.end_to_end.test_updates import SaveVersion, record, serve


def commit(deployment: Deployment, offset: int, topic_id: str = "") -> None:
    """Commits an offset, as an earlier run would have."""
    consumer = deployment.kafka.consumer(deployment.group)
    where = TopicPartition(deployment.topic("records"), 0, offset, metadata=topic_id)
    consumer.commit(offsets=[where], asynchronous=False)
    consumer.close()


def expire_below(deployment: Deployment, offset: int) -> None:
    where = TopicPartition(deployment.topic("records"), 0, offset)
    deployment.admin.delete_records([where])[where].result(30)


def recreate(deployment: Deployment, kind: str = "records", cleanup_policy: str = "delete") -> None:
    topic = deployment.topic(kind)
    deployment.admin.delete_topics([topic])[topic].result(30)

    def gone() -> bool:
        return topic not in deployment.kafka.admin().list_topics(timeout=10).topics

    deployment.eventually(gone, "the topic is deleted")
    deployment.make_topic(kind, cleanup_policy=cleanup_policy)
    deployment.refresh_producer()


def test_expired_records_stop_the_pipeline_with_the_gap_named_or_are_reported(deploy: Deploy) -> None:
    deployment = deploy()
    deployment.send([record("any")] * 30)
    commit(deployment, 10)
    expire_below(deployment, 20)
    said = deployment.fails(on_gap="fail")
    assert "the records at offsets 10 to 19 have expired" in said
    assert "--on-gap report" in said
    assert deployment.committed() == 10
    deployment.start(on_gap="report")
    deployment.results_of(range(20, 30))
    (event, *_) = deployment.status("gap")
    assert "the records at offsets 10 to 19 have expired" in (event.error or "")
    deployment.eventually(lambda: deployment.committed() == 30, "the group goes on behind the gap")


def test_a_topic_recreated_while_the_pipeline_runs_is_read_from_its_beginning_and_reported(deploy: Deploy) -> None:
    deployment = deploy()
    process = deployment.start(on_gap="report")
    deployment.results_of(deployment.send([record("first")] * 50))
    deployment.eventually(lambda: deployment.committed() == 50, "the first topic is committed")
    # One that is shorter than the position in the topic before, and one that is longer.
    for data_type, count in (("shorter", 20), ("longer", 200)):
        recreate(deployment)
        offsets = deployment.send([record(data_type)] * count)
        deployment.eventually(lambda: _scored(deployment, data_type) == set(offsets), f"the {data_type} one is scored")  # noqa: B023
        deployment.eventually(lambda: deployment.committed() == count, f"the {data_type} one is committed")  # noqa: B023
    assert process.runs()
    reported = deployment.status("gap", number=2)
    assert all("the topic was recreated" in (event.error or "") for event in reported)


def test_a_topic_recreated_while_the_pipeline_was_away_stops_it_or_is_reported(deploy: Deploy) -> None:
    deployment = deploy()
    offsets = deployment.send([record("new")] * 30)
    # The topic has enough records: only its id reveals it. (Kafka forgets a deleted topic's offsets a while later.)
    commit(deployment, 20, "the id of another topic")
    assert "the topic was recreated since offset 20 was committed" in deployment.fails(on_gap="fail")
    deployment.start(on_gap="report")
    deployment.results_of(offsets)
    assert "the topic was recreated" in (deployment.status("gap")[0].error or "")
    deployment.eventually(lambda: deployment.committed() == 30, "the new topic is committed")


def test_a_recreated_models_topic_is_followed_although_its_positions_are_lower(
    deploy: Deploy, version_model: SaveVersion
) -> None:
    deployment = deploy()
    process = deployment.start(on_gap="report")
    for number in (1, 2, 3):
        assert serve(deployment, "before", version_model(number)) == number
    recreate(deployment, "models", cleanup_policy="compact")
    # The numbers of a model begin again with the topic.
    for number in (1, 2):
        assert serve(deployment, "after", version_model(number)) == number
        (result,) = deployment.score(record("after"))
        assert (result.error, result.version) == (None, number)
    (result,) = deployment.score(record("before"))
    assert (result.error or "").startswith("No model server defined")
    assert process.runs()


def _scored(deployment: Deployment, data_type: str) -> set[int]:
    deployment.more_results()
    return {result.where[1] for result in deployment.results() if result.record["dataType"] == data_type}
