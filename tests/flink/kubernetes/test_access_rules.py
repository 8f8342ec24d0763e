"""The access rules of the Kafka users, enforced by a real broker: enough for a pipeline, and no more.

Strimzi's operator turns each rule into one of Kafka's; here the test does. The users have passwords instead of
certificates, and the topics and the group of the rules have the names of this test's deployment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from beam_pipeline.cli.command_line import main
from models.errors import ServingError
from models.kafka.client import KafkaSettings
from models.model_topic.publisher import ModelPublisher
from runners.local.free_ports import HOST, free_port
from runners.local.kafka_broker import BrokerSettings, LocalBroker
from tests.end_to_end.conftest import make_deployment
from tests.end_to_end.deployment import Deployment, describe
from tests.flink.kubernetes import overlays
from tests.saved_models import save_version_model

PIPELINE, PUBLISHER = "beam-serving", "beam-serving-publisher"
FILES = {PIPELINE: "user.yaml", PUBLISHER: "publisher.yaml"}
GROUP = "wine-serving"
X = {"x": ("user",)}
RESOURCES = {
    "topic": ResourceType.TOPIC,
    "group": ResourceType.GROUP,
    "transactionalId": ResourceType.TRANSACTIONAL_ID,
}
PATTERNS = {"literal": ResourcePatternType.LITERAL, "prefix": ResourcePatternType.PREFIXED}
OPERATIONS = {
    "Read": AclOperation.READ,
    "Write": AclOperation.WRITE,
    "Describe": AclOperation.DESCRIBE,
    "DescribeConfigs": AclOperation.DESCRIBE_CONFIGS,
}


def rules(user: str) -> list[Mapping[str, Any]]:
    """The rules of a user in the manifests."""
    (manifest,) = yaml.safe_load_all((overlays.FOLDER / "kafka" / FILES[user]).read_text(encoding="utf-8"))
    assert manifest["metadata"]["name"] == user
    found: list[Mapping[str, Any]] = manifest["spec"]["authorization"]["acls"]
    return found


def bindings(user: str, name_of: Callable[[Mapping[str, Any]], str]) -> Iterator[AclBinding]:
    """Kafka's rules for a user's; `name_of` gives the name of a resource in this test."""
    for rule in rules(user):
        resource = rule["resource"]
        what = RESOURCES[resource["type"]], name_of(resource), PATTERNS[resource["patternType"]]
        for operation in rule["operations"]:
            yield AclBinding(*what, f"User:{user}", "*", OPERATIONS[operation], AclPermissionType.ALLOW)


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[tuple[LocalBroker, str]]:
    """A broker that denies whatever no rule allows, and the address at which users log in; others may do everything."""
    plain, users, controller = free_port(), free_port(), free_port()
    listeners = f"PLAINTEXT://{HOST}:{plain},USERS://{HOST}:{users}"
    passwords = " ".join(f'user_{user}="secret"' for user in FILES)
    login = f"org.apache.kafka.common.security.plain.PlainLoginModule required {passwords};"
    properties = {
        "listeners": f"{listeners},CONTROLLER://{HOST}:{controller}",
        "advertised.listeners": listeners,
        "controller.quorum.voters": f"1@{HOST}:{controller}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,USERS:SASL_PLAINTEXT",
        "listener.name.users.sasl.enabled.mechanisms": "PLAIN",
        "listener.name.users.plain.sasl.jaas.config": login,
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
        "auto.create.topics.enable": "false",
    }
    with LocalBroker(BrokerSettings(port=plain, work_folder=tmp_path / "broker", properties=properties)) as broker:
        yield broker, f"{HOST}:{users}"


def as_user(address: str, user: str) -> KafkaSettings:
    login = {"sasl.mechanism": "PLAIN", "sasl.username": user, "sasl.password": "secret"}
    return KafkaSettings(address, {"security.protocol": "SASL_PLAINTEXT", **login})


def allow(broker: LocalBroker, deployment: Deployment) -> None:
    """Creates the rules of both users."""

    def name_of(resource: Mapping[str, Any]) -> str:
        name: str = resource["name"]
        if resource["type"] == "group":
            assert name == GROUP
            return deployment.group
        if resource["type"] == "transactionalId":
            return name.replace("models", deployment.topic("models"))
        return deployment.topic(name)

    admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers})
    created = admin.create_acls([one for user in FILES for one in bindings(user, name_of)])
    for outcome in created.values():
        outcome.result(timeout=30)


def test_the_group_is_that_of_the_overlays() -> None:
    options = yaml.safe_load((overlays.FOLDER / "base" / "serving.yaml").read_text(encoding="utf-8"))
    assert options["group"] == GROUP
    assert {rule["resource"]["name"] for rule in rules(PIPELINE)} == {
        GROUP,
        *(options[name] for name in options if name.endswith("-topic")),
    }


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_each_user_may_do_what_its_part_takes_and_no_more(
    guarded: tuple[LocalBroker, str], prism_location: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broker, address = guarded
    deployment = make_deployment(KafkaSettings(broker.bootstrap_servers), prism_location, "recommender", tmp_path)
    pipeline, publisher = (as_user(address, user) for user in (PIPELINE, PUBLISHER))
    try:
        allow(broker, deployment)
        first, second = (save_version_model(tmp_path / f"model-{number}", number) for number in (1, 2))
        models = ModelPublisher(publisher, deployment.topic("models"))
        models.publish(describe("wine", first, X))
        deployment.start(bootstrap_servers=address, kafka_config=dict(pipeline.config), result_key="coordinates")
        record = {"user": 1, "products": [], "dataType": "wine"}
        assert deployment.score(record)[0].version == 1
        models.publish(describe("wine", second, X))
        deployment.status("serving", "wine", 2)
        assert deployment.score(record)[0].version == 2
        deployment.dead_letters(deployment.send_bytes([b"garbage"]))
        deployment.eventually(lambda: deployment.committed() >= 3, "the group is committed")
        show_status(address, deployment, pipeline, capsys)
        with pytest.raises(ServingError, match="uthorization failed"):
            ModelPublisher(pipeline, deployment.topic("models")).publish(describe("wine", first, X))
        assert [one.descriptor.model_version for one in models.versions()] == [1, 2]
        assert deployment.process is not None
        assert "uthoriz" not in deployment.process.log()
    finally:
        deployment.close()


def show_status(address: str, deployment: Deployment, user: KafkaSettings, capsys: pytest.CaptureFixture[str]) -> None:
    """Runs `beam-serving status`, which has no group."""
    topics = ("--models-topic", deployment.topic("models"), "--status-topic", deployment.topic("status"))
    login = [f"--kafka-config={name}={value}" for name, value in user.config.items()]
    capsys.readouterr()
    assert main(["status", "--bootstrap-servers", address, *topics, *login]) == 0
    out, err = capsys.readouterr()
    assert "wine/2" in out
    assert err == ""
