"""Routes: the choice between models for each record, on Prism and under load."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

from models.model_topic.descriptor import ModelDescriptor
from models.model_topic.guardrails import Guardrails
from models.model_topic.history import read_history
from models.model_topic.route import Generation
from models.model_topic.route_changes import with_canary, with_shadow
from models.model_topic.route_publisher import RoutePublisher
from tests.campaigns.fenced_switches import NAME, ROW, Campaign, publish_versions, run
from tests.end_to_end.conftest import Deploy
from tests.end_to_end.kafka_tail import KafkaTail
from tests.models.scorers.servers.tensorflow_serving_replica import running
from tests.saved_models import save_version_model

SaveVersion = Callable[..., Path]


def test_each_record_is_answered_by_its_rightful_arm_although_the_pipeline_is_killed(
    deploy: Deploy, version_model: SaveVersion
) -> None:
    deployment = deploy(partitions=2)

    def kill_and_start(_: int) -> None:
        assert deployment.process is not None
        deployment.process.kill()
        deployment.start()

    models = [version_model(number) for number in (1, 2, 3, 4)]
    outcome = run(deployment, models, Campaign(changes=30, rounds=2, most_arms=3), deployment.start, kill_and_start)
    print(f"\n{outcome}")
    assert outcome.changes == 30
    assert not outcome.wrong
    assert not outcome.unanswered
    assert outcome.worst_share < 5


def beside_live(live: Generation | None) -> Generation:
    """Makes version 2 a shadow of the live version."""
    assert live is not None
    return with_shadow(live, NAME, 2, 1.0)


def test_a_shadow_answers_to_the_shadow_topic_only(deploy: Deploy, version_model: SaveVersion) -> None:
    deployment = deploy()
    deployment.make_topic("shadows")
    publish_versions(deployment, [version_model(1), version_model(2)])
    deployment.start(shadow_topic=deployment.topic("shadows"))
    deployment.score(ROW)
    RoutePublisher(deployment.kafka, deployment.topic("models")).change(NAME, beside_live)
    deployment.status("serving", NAME, 2)
    results = deployment.score(*[ROW] * 100)
    assert {(one.version, one.metadata["arm"], one.metadata["role"]) for one in results} == {(1, "live", "serve")}
    tail = KafkaTail(deployment.kafka, deployment.topic("shadows"))
    try:
        assert tail.until(lambda: len(tail.messages) >= 100)
        shadows = [deployment._decode(message) for message in tail.messages]
    finally:
        tail.close()
    last = {one.where: one for one in shadows}
    assert {one.where for one in results} <= set(last)
    assert {(one.version, one.metadata["role"]) for one in shadows} == {(2, "shadow")}
    assert all(one.version == 1 for one in deployment.results_to_the_end())


def test_a_shadow_on_a_server_that_hangs_delays_no_answer(deploy: Deploy, version_model: SaveVersion) -> None:
    deployment = deploy()
    publish_versions(deployment, [version_model(1)])
    with running({f"{NAME}:2": version_model(2)}) as replica:
        location = f"http://127.0.0.1:{replica.rest_port}/v1/models/{NAME}/versions/2"
        # Longer than this test waits for anything.
        options = {"deadline": "600", "batch.deadline": "600", "attempts": "1"}
        served = ModelDescriptor(
            NAME, "tensorflow-serving-rest", model_source_location=location, inputs={"x": ("user",)}, options=options
        )
        deployment.models.publish(served, live=False)
        deployment.start()
        deployment.score(ROW)
        RoutePublisher(deployment.kafka, deployment.topic("models")).change(NAME, beside_live)
        deployment.status("serving", NAME, 2)
        calls = len(replica.calls())
        deployment.score(ROW)
        deployment.eventually(lambda: len(replica.calls()) > calls, "the shadow scores", 30.0)
        os.kill(replica.process.pid, signal.SIGSTOP)
        try:
            for _ in range(20):
                results = deployment.score(*[ROW] * 50)
                assert {(one.version, one.error) for one in results} == {(1, None)}
            assert deployment.process is not None
            assert deployment.process.stop() == 0, "the pipeline waits for the shadow when it stops"
        finally:
            os.kill(replica.process.pid, signal.SIGCONT)


def test_the_guard_gives_a_good_candidate_all_records_and_takes_a_bad_one_out(
    deploy: Deploy, version_model: SaveVersion, tmp_path: Path
) -> None:
    deployment = deploy(partitions=2)
    alike, other = version_model(1), save_version_model(tmp_path / "other", 99)
    publish_versions(deployment, [alike, save_version_model(tmp_path / "alike", 1), other])
    deployment.start()
    deployment.score(ROW)
    routes = RoutePublisher(deployment.kafka, deployment.topic("models"))
    limits = Guardrails((0.2, 0.6, 1.0), min_records=200, max_slowdown=100.0)

    def start_canary(version: int) -> None:
        def change(live: Generation | None) -> Generation:
            assert live is not None
            return with_canary(live, NAME, version, 0.2, limits)

        routes.change(NAME, change)

    def arms() -> list[tuple[str, int | None]]:
        return [(arm.name, arm.version) for arm in routes.routes()[NAME].route.newest.arms]

    with deployment.records_coming(ROW, a_second=200) as sent:
        start_canary(2)
        deployment.eventually(lambda: arms() == [("live", 2)], "the good candidate serves", 90.0)
        start_canary(3)
        deployment.eventually(lambda: arms() == [("live", 2)], "the bad candidate is taken out", 90.0)
    results = deployment.results_of_all(sent)
    assert all(result.error is None for result in results)
    touched = sum(result.version == 3 for result in results)
    assert 0 < touched < 2_000
    changes = [one.change for one in read_history(deployment.kafka, deployment.topic("models")) if "(" in one.change]
    assert [change.partition("(")[2].partition(":")[0] for change in changes] == [
        f"{NAME}/2 from 20 % to 60 %",
        f"{NAME}/2 from 60 % to 100 %",
        f"{NAME}/3 taken out",
    ]
    print(f"\nthe bad candidate answered {touched} of {len(results)} records; {changes[-1]}")


def test_labels_move_a_right_candidate_forward_and_take_a_wrong_one_out(
    deploy: Deploy, version_model: SaveVersion, tmp_path: Path
) -> None:
    deployment = deploy()
    wrong = save_version_model(tmp_path / "wrong", 99)
    publish_versions(deployment, [version_model(1), save_version_model(tmp_path / "right", 1), wrong])
    deployment.make_topic("feedback")
    deployment.start(feedback_topic=deployment.topic("feedback"))
    deployment.score(ROW)
    routes = RoutePublisher(deployment.kafka, deployment.topic("models"))
    # Agreement does not matter, and records do not run out: labels decide.
    limits = Guardrails((0.2, 1.0), 50, min_agreement=0.0, max_slowdown=100.0, min_accuracy=0.9, min_labels=40)

    def start_canary(version: int) -> None:
        def change(live: Generation | None) -> Generation:
            assert live is not None
            return with_canary(live, NAME, version, 0.2, limits)

        routes.change(NAME, change)

    labelled: set[tuple[int, int]] = set()

    def decided_for(version: int) -> bool:
        """Labels the answers of candidates so far, twice and amid garbage, and checks the route."""
        for result in deployment.more_results():
            if result.metadata["role"] == "candidate" and result.where not in labelled:
                labelled.add(result.where)
                key = "{topic}-{partition}-{offset}".format(**result.metadata).encode()
                for value in (b"{", b'{"label": [1]}', b'{"label": 1}', b'{"label": 1}'):
                    producer.produce(deployment.topic("feedback"), value, key)
                producer.produce(deployment.topic("feedback"), b'{"label": 1}', b"nowhere-0-1")
        producer.flush(30)
        arms = routes.routes()[NAME].route.newest.arms
        return [(arm.name, arm.version) for arm in arms] == [("live", version)]

    producer = deployment.kafka.producer()
    with deployment.records_coming(ROW, a_second=200):
        start_canary(2)
        deployment.eventually(lambda: decided_for(2), "the right candidate serves", 90.0)
        start_canary(3)
        deployment.eventually(lambda: decided_for(2), "the wrong candidate is taken out", 90.0)
    changes = [one.change for one in read_history(deployment.kafka, deployment.topic("models")) if "(" in one.change]
    assert [change.partition("(")[2].partition(";")[0] for change in changes][1:] == [
        f"{NAME}/3 taken out: less than 90 % accuracy"
    ]
    assert "100 % accuracy" in changes[0]
    assert ", 0 % accuracy" in changes[1]
    assert len(labelled) >= 20
    print(f"\n{changes}")
