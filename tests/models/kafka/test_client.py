from __future__ import annotations

import logging
from concurrent.futures import Future
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
from confluent_kafka import KafkaError, Message, Producer, TopicPartition
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.errors import KafkaUnreachableError, OptionsError, TopicForbiddenError
from models.kafka.client import RESERVED, ConnectionLog, KafkaSettings, partition_count
from tests.models.conftest import SECONDS, Kafka, eventually

NOBODY = "127.0.0.1:1"


# --- Settings.


def test_settings_that_librdkafka_knows_are_accepted() -> None:
    config = {"security.protocol": "PLAINTEXT", "consumer.fetch.wait.max.ms": "50", "producer.linger.ms": "5"}
    KafkaSettings(NOBODY, config).check()


@pytest.mark.parametrize("name", ["no.such.setting", "producer.no.such.setting", "consumer.no.such.setting"])
def test_an_unknown_setting_is_refused_by_its_name(name: str) -> None:
    with pytest.raises(OptionsError, match=r"no\.such\.setting"):
        KafkaSettings(NOBODY, {name: "1"}).check()


@pytest.mark.parametrize(("name", "value"), [("socket.timeout.ms", "soon"), ("security.protocol", "NONE")])
def test_an_invalid_value_is_rejected(name: str, value: str) -> None:
    with pytest.raises(OptionsError, match=name.replace(".", r"\.")):
        KafkaSettings(NOBODY, {name: value}).check()


@pytest.mark.parametrize("prefix", ["", "producer.", "consumer."])
@pytest.mark.parametrize("name", list(RESERVED))
def test_a_reserved_setting_is_rejected_with_the_alternative_or_the_reason(prefix: str, name: str) -> None:
    with pytest.raises(OptionsError, match=f"{prefix}{name} cannot be set: {RESERVED[name]}"):
        KafkaSettings(NOBODY, {prefix + name: "x"}).check()


@pytest.mark.parametrize("name", ["enable.auto.commit", "isolation.level", "enable.idempotence", "group.id"])
def test_the_settings_that_guarantees_depend_on_are_reserved(name: str) -> None:
    assert name in RESERVED


def test_a_prefix_sends_a_setting_to_one_kind_of_client() -> None:
    settings = KafkaSettings(NOBODY, {"producer.linger.ms": "7", "consumer.fetch.wait.max.ms": "8", "client.id": "c"})
    assert settings._for("producer.") == {"client.id": "c", "linger.ms": "7"}
    assert settings._for("consumer.") == {"client.id": "c", "fetch.wait.max.ms": "8"}
    assert settings._for("") == {"client.id": "c"}


def test_a_setting_for_one_kind_of_client_takes_precedence() -> None:
    settings = KafkaSettings(NOBODY, {"client.id": "all", "producer.client.id": "writer"})
    assert settings._for("producer.") == {"client.id": "writer"}
    assert settings._for("consumer.") == {"client.id": "all"}


def test_a_prefixed_setting_reaches_the_client(kafka: Kafka) -> None:
    settings = KafkaSettings(kafka.settings.bootstrap_servers, {"producer.message.max.bytes": "2000"})
    topic = kafka.topic()
    with pytest.raises(Exception, match="MSG_SIZE_TOO_LARGE"):
        settings.producer().produce(topic, bytes(3000))
    assert partition_count(settings.admin(), topic, SECONDS) == 1


# --- Responses of the brokers.


def test_partitions_are_counted_and_a_missing_topic_is_not_created(kafka: Kafka) -> None:
    topic, missing = kafka.topic(partitions=3), kafka.topic_names("missing")
    client = kafka.settings.consumer("count")
    assert partition_count(client, topic, SECONDS) == 3
    assert partition_count(client, missing, SECONDS) == 0
    assert partition_count(kafka.settings.admin(), missing, SECONDS) == 0
    client.close()


def test_an_unreachable_broker_is_an_error_after_the_timeout() -> None:
    with pytest.raises(KafkaUnreachableError, match="topic 't': no broker answered"):
        partition_count(KafkaSettings(NOBODY).admin(), "t", 0.2)


def test_an_outage_and_its_end_are_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "models.kafka.client")
    logs = [ConnectionLog("somewhere:1"), ConnectionLog("somewhere:1")]
    for _ in range(3):
        for log in logs:
            log.on_error(KafkaError(KafkaError._ALL_BROKERS_DOWN))
    ConnectionLog.answered("elsewhere:1")
    for _ in range(3):
        ConnectionLog.answered("somewhere:1")
    assert caplog.messages == [
        "Kafka at somewhere:1 does not answer; waiting and trying again",
        "Kafka at somewhere:1 answers again",
    ]


def test_a_late_report_of_an_outage_is_ignored_while_other_clients_get_answers(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.WARNING, "models.kafka.client")
    monkeypatch.setattr("models.kafka.client._PATIENCE_SECONDS", 0.2)
    monkeypatch.setattr("models.kafka.client._SILENCE_SECONDS", 0.1)
    log = ConnectionLog("here:1")
    ConnectionLog.answered("here:1")
    log.on_error(KafkaError(KafkaError._ALL_BROKERS_DOWN))
    eventually(lambda: ConnectionLog.answered("here:1") or "here:1" not in ConnectionLog._suspected)
    assert caplog.messages == []
    log.on_error(KafkaError(KafkaError._ALL_BROKERS_DOWN))
    eventually(lambda: caplog.messages)
    assert caplog.messages == ["Kafka at here:1 does not answer; waiting and trying again"]


def test_a_client_logs_once_that_its_brokers_are_down(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    nobody = "127.0.0.1:2"  # of whom nothing was said yet
    consumer = KafkaSettings(nobody).consumer("nobody")
    consumer.assign([TopicPartition("t", 0, 0)])
    eventually(lambda: consumer.poll(0.05) or "does not answer" in caplog.text)
    for _ in range(5):
        consumer.poll(0.05)
    consumer.close()
    assert caplog.text.count("does not answer") == 1
    # (pytest listens to loggers that pass nothing on, too.)
    logger = logging.getLogger("models.kafka.client.librdkafka")
    assert not logger.propagate
    assert {record.name for record in caplog.records} <= {"models.kafka.client", logger.name}
    ConnectionLog.answered(nobody)


# --- Keys go to the partitions that a Java producer would choose.


def murmur2(data: bytes) -> int:
    """org.apache.kafka.common.utils.Utils.murmur2, line by line, in 32 bits."""
    mask = 0xFFFFFFFF
    mixed = 0x9747B28C ^ len(data)
    for at in range(0, len(data) - len(data) % 4, 4):
        part = int.from_bytes(data[at : at + 4], "little") * 0x5BD1E995 & mask
        part = (part ^ part >> 24) * 0x5BD1E995 & mask
        mixed = mixed * 0x5BD1E995 & mask ^ part
    tail = data[len(data) - len(data) % 4 :]
    if tail:
        mixed = (mixed ^ int.from_bytes(tail, "little")) * 0x5BD1E995 & mask
    mixed = (mixed ^ mixed >> 13) * 0x5BD1E995 & mask
    return mixed ^ mixed >> 15


def java_partition(key: bytes, partitions: int) -> int:
    """BuiltInPartitioner.partitionForKey."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions


@pytest.mark.parametrize(
    ("key", "signed"),
    [
        # From Kafka's own UtilsTest.
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_this_murmur2_matches_java(key: bytes, signed: int) -> None:
    assert murmur2(key) == signed % 2**32


@dataclass(frozen=True)
class Partitioned:
    """A topic with seven partitions, and one of our producers."""

    topic: str
    producer: Producer

    def partitions_of(self, keys: set[bytes]) -> dict[bytes, int]:
        """The partition of each key."""
        chosen: dict[bytes, Future[int]] = {key: Future() for key in keys}

        def on_delivery(_: KafkaError | None, message: Message) -> None:
            chosen[message.key()].set_result(message.partition())

        for key in keys:
            self.producer.produce(self.topic, b"", key, on_delivery=on_delivery)
        assert self.producer.flush(SECONDS) == 0
        return {key: future.result(0) for key, future in chosen.items()}


@pytest.fixture
def partitioned(kafka: Kafka) -> Partitioned:
    return Partitioned(kafka.topic(partitions=7), kafka.settings.producer())


def test_known_keys_go_to_the_partitions_of_javas_hashes(partitioned: Partitioned) -> None:
    # The hashes above without their sign bit, modulo 7.
    expected = {b"21": 1173551340 % 7, b"foobar": 1357151166 % 7, b"abc": 479470107 % 7}
    assert partitioned.partitions_of(set(expected)) == expected


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(keys=st.sets(st.binary(max_size=40), min_size=1, max_size=50))
def test_any_keys_go_to_the_partitions_that_java_chooses(partitioned: Partitioned, keys: set[bytes]) -> None:
    assert partitioned.partitions_of(keys) == {key: java_partition(key, 7) for key in keys}


def test_a_topic_that_this_user_may_not_describe_is_an_error_with_the_remedy() -> None:
    class Forbidden:
        """A client whose broker lists a topic that this user may not describe."""

        def list_topics(self, timeout: float) -> SimpleNamespace:
            refused = SimpleNamespace(error=KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED), partitions={})
            return SimpleNamespace(topics={"t": refused})

    with pytest.raises(TopicForbiddenError, match=r"topic .t. may not be read by this user: allow .*--topic t"):
        partition_count(Forbidden(), "t", SECONDS)
