from __future__ import annotations

import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from models.errors import KafkaUnreachableError, ModelsTopicError, PublishError
from models.kafka.client import KafkaSettings
from models.model_topic.descriptor import ModelDescriptor, ModelPointer, encode_descriptor
from models.model_topic.publisher import ModelPublisher
from models.model_topic.reader import ModelsTopicReader
from tests.models.conftest import SECONDS, Kafka, eventually


@pytest.fixture
def topic(kafka: Kafka) -> str:
    return kafka.topic("models", cleanup_policy="compact")


@pytest.fixture
def models(kafka: Kafka, topic: str) -> ModelPublisher:
    return ModelPublisher(kafka.settings, topic)


def located(name: str = "m", **fields: object) -> ModelDescriptor:
    return ModelDescriptor(name, "t", model_source_location="there", **fields)  # type: ignore[arg-type]


def states(models: ModelPublisher) -> dict[str, str]:
    return {f"{one.descriptor.model_name}/{one.descriptor.model_version}": one.state for one in models.versions()}


def pointer(models: ModelPublisher, name: str = "m") -> ModelPointer:
    return models.read().pointers[name].pointer


def delete(kafka: Kafka, topic: str, *keys: bytes) -> None:
    """Deletes versions, as an operator can with any Kafka tool."""
    for key in keys:
        kafka.write(topic, [None], key)


# --- Publishing.


def test_versions_are_numbered_and_the_last_one_is_live(models: ModelPublisher) -> None:
    first, second, third = (models.publish(located(description=str(number))) for number in (1, 2, 3))
    assert [one.model_version for one in (first, second, third)] == [1, 2, 3]
    assert first.published_at > 0
    assert states(models) == {"m/1": "", "m/2": "previous", "m/3": "live"}
    assert [one.descriptor.description for one in models.versions()] == ["1", "2", "3"]
    assert (pointer(models).live_version, pointer(models).previous_version, pointer(models).last_version) == (3, 2, 3)


def test_models_are_numbered_apart(models: ModelPublisher) -> None:
    for name in ("m", "größe", "m"):
        models.publish(located(name))
    assert states(models) == {"größe/1": "live", "m/1": "previous", "m/2": "live"}


def test_a_missing_topic_is_created(kafka: Kafka) -> None:
    models = ModelPublisher(kafka.settings, kafka.topic_names("models"))
    assert models.versions() == []
    models.publish(located())
    eventually(lambda: states(models) == {"m/1": "live"})


def test_an_inline_model_stays_in_the_topic(kafka: Kafka, topic: str, models: ModelPublisher) -> None:
    models.publish(ModelDescriptor("m", "t", model_bytes=b"model"))
    (listed,) = models.versions()
    assert (listed.inline, listed.offset, listed.descriptor.model_bytes) == (True, 0, None)


def test_a_model_that_is_too_large_for_the_topic_names_the_location(kafka: Kafka) -> None:
    topic = kafka.topic("models", cleanup_policy="compact", max_message_bytes=10_000)
    models = ModelPublisher(kafka.settings, topic)
    with pytest.raises(PublishError, match=r"accepts at most 10000; .*--location URI, or raise .*max\.message\.bytes"):
        models.publish(ModelDescriptor("m", "t", model_bytes=bytes(10_000)))
    assert models.versions() == []


@pytest.mark.parametrize("name", ["m", "größe" * 49])
def test_the_broker_accepts_the_largest_model_that_passes_the_check(kafka: Kafka, name: str) -> None:
    topic = kafka.topic("models", cleanup_policy="compact", max_message_bytes=20_000)
    models = ModelPublisher(kafka.settings, topic)
    with pytest.raises(PublishError, match="--location") as refused:
        models.publish(ModelDescriptor(name, "t", model_bytes=bytes(20_000)))
    (size,) = re.findall(r"takes a message of (\d+) bytes", str(refused.value))
    models.publish(ModelDescriptor(name, "t", model_bytes=bytes(40_000 - int(size))))
    assert states(models) == {f"{name}/1": "live"}


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"cleanup_policy": "delete"}, "cleanup.policy=delete"),
        ({"cleanup_policy": "compact", "partitions": 2}, "has 2 partitions"),
    ],
)
def test_a_topic_that_cannot_be_the_persisted_state_is_refused(
    kafka: Kafka, config: dict[str, object], text: str
) -> None:
    models = ModelPublisher(kafka.settings, kafka.topic("models", **config))  # type: ignore[arg-type]
    with pytest.raises(ModelsTopicError, match=text):
        models.publish(located())


def test_an_unreachable_broker_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.kafka.topics._SECONDS", 0.2)
    with pytest.raises(KafkaUnreachableError):
        ModelPublisher(KafkaSettings("127.0.0.1:1"), "models").publish(located())


# --- Rollback and retirement.


def test_a_rollback_makes_the_previous_version_live_and_another_one_undoes_it(models: ModelPublisher) -> None:
    for _ in range(3):
        models.publish(located())
    for live, previous in ((2, 3), (3, 2)):
        found = models.rollback("m")
        assert (found.live_version, found.previous_version, found.last_version) == (live, previous, 3)
        assert found == pointer(models)
    assert models.rollback("m", 1).live_version == 1
    assert states(models) == {"m/1": "live", "m/2": "", "m/3": "previous"}


def test_after_a_rollback_the_next_number_is_a_new_one(models: ModelPublisher) -> None:
    for _ in range(2):
        models.publish(located())
    models.rollback("m")
    assert models.publish(located()).model_version == 3
    assert pointer(models).previous_version == 1


def test_the_error_of_an_impossible_rollback_names_the_possible_ones(models: ModelPublisher) -> None:
    models.publish(located())
    with pytest.raises(PublishError, match=r"'n' is not in topic .*; existing models: m"):
        models.rollback("n")
    with pytest.raises(PublishError, match="has no version before 1; select one with --to"):
        models.rollback("m")
    with pytest.raises(PublishError, match="has no version 7; existing versions: 1"):
        models.rollback("m", 7)
    with pytest.raises(PublishError, match="version 1 is already live"):
        models.rollback("m", 1)


def test_a_rollback_restores_a_retired_model(models: ModelPublisher) -> None:
    models.publish(located())
    models.publish(located())
    retired = models.retire("m")
    assert (retired.live_version, retired.previous_version, retired.last_version) == (None, 2, 2)
    assert states(models) == {"m/1": "", "m/2": "previous"}
    with pytest.raises(PublishError, match="already retired"):
        models.retire("m")
    assert models.rollback("m").live_version == 2


def test_a_retired_model_is_published_again_with_the_one_that_was_live_before_it(models: ModelPublisher) -> None:
    models.publish(located())
    models.retire("m")
    assert models.publish(located()).model_version == 2
    assert states(models) == {"m/1": "previous", "m/2": "live"}


def test_an_unknown_model_cannot_be_retired(models: ModelPublisher) -> None:
    with pytest.raises(PublishError, match="existing models: none"):
        models.retire("m")


# --- Numbers are never used again.


def test_the_number_of_a_deleted_version_is_never_used_again(kafka: Kafka, topic: str, models: ModelPublisher) -> None:
    for _ in range(3):
        models.publish(located())
    models.rollback("m", 1)
    delete(kafka, topic, b"m/2", b"m/3")
    assert states(models) == {"m/1": "live"}
    assert models.publish(located()).model_version == 4
    delete(kafka, topic, b"m/1", b"m/4")
    models.retire("m")
    assert models.publish(located()).model_version == 5


def test_concurrent_publishers_never_assign_the_same_number(kafka: Kafka, topic: str) -> None:
    together = threading.Barrier(3)

    def publish(number: int) -> int | PublishError:
        together.wait(SECONDS)
        try:
            return ModelPublisher(kafka.settings, topic).publish(located(description=str(number))).model_version
        except PublishError as error:
            return error

    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(publish, range(3)))
    models = ModelPublisher(kafka.settings, topic)
    given = [answer for answer in answers if isinstance(answer, int)]
    assert given, answers
    assert len(set(given)) == len(given)
    assert all("try again" in str(answer) for answer in answers if isinstance(answer, PublishError))
    # Nothing is seen of those that failed, and each that succeeded is there with its own descriptor.
    written = {one.descriptor.model_version: one.descriptor.description for one in models.versions()}
    assert written == {answer: str(place) for place, answer in enumerate(answers) if isinstance(answer, int)}
    assert pointer(models).live_version == max(given)
    assert models.publish(located()).model_version == max(given) + 1


def test_an_overtaken_publisher_publishes_nothing(kafka: Kafka, topic: str, monkeypatch: pytest.MonkeyPatch) -> None:
    slow, fast = ModelPublisher(kafka.settings, topic), ModelPublisher(kafka.settings, topic)
    between(monkeypatch, slow, lambda: fast.publish(located(description="fast")))
    with pytest.raises(PublishError, match=r"nothing was published: .*; if another publisher was active, try again"):
        slow.publish(located(description="slow"))
    assert [one.descriptor.description for one in fast.versions()] == ["fast"]
    assert fast.publish(located()).model_version == 2


def between(monkeypatch: pytest.MonkeyPatch, models: ModelPublisher, act: Callable[[], object]) -> None:
    """Runs a function after `models` has read the topic and before it writes."""
    read = models.read

    def read_and_act() -> object:
        catalog = read()
        act()
        return catalog

    monkeypatch.setattr(models, "read", read_and_act)


def test_what_was_published_behind_the_open_transaction_of_another_model_is_counted(
    kafka: Kafka, topic: str, models: ModelPublisher
) -> None:
    other = kafka.settings.producer(**{"transactional.id": kafka.topic_names("other")})
    other.init_transactions(SECONDS)
    other.begin_transaction()
    descriptor = located("other", model_version=1)
    other.produce(topic, encode_descriptor(descriptor), "other/1", partition=0)
    assert other.flush(SECONDS) == 0
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(models.publish, located())
        with pytest.raises(TimeoutError):
            first.result(1.0)
        other.commit_transaction(SECONDS)
        assert first.result(SECONDS).model_version == 1
    assert models.publish(located()).model_version == 2
    assert states(models) == {"m/1": "previous", "m/2": "live", "other/1": ""}


def test_a_publisher_that_fails_leaves_no_transaction_open(
    kafka: Kafka, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = KafkaSettings(kafka.settings.bootstrap_servers, {"producer.message.max.bytes": "2000"})
    with pytest.raises(PublishError, match="nothing was published"):
        ModelPublisher(settings, topic).publish(ModelDescriptor("m", "t", model_bytes=bytes(3000)))
    # Whoever publishes another model would wait for it.
    models = ModelPublisher(kafka.settings, topic)
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(models.publish, located("other")).result(SECONDS).model_version == 1
    assert states(models) == {"other/1": "live"}


# --- Descriptors keyed by their bare name.


def test_a_bare_descriptor_outlives_the_pointer_that_takes_its_key(
    kafka: Kafka, topic: str, models: ModelPublisher
) -> None:
    bare = ModelDescriptor("m", "t", model_version=5, model_bytes=b"model", description="bare")
    kafka.write(topic, [encode_descriptor(bare)], b"m")
    kafka.write(topic, [encode_descriptor(located("other"))], b"other")
    models.retire("m")
    (before, *_) = models.versions()
    assert (before.descriptor.description, before.inline, before.offset) == ("bare", True, 2)
    catalog = models.read()
    assert not catalog.versions["m", 5].bare
    assert catalog.versions["other", 2].bare
    reader = ModelsTopicReader(kafka.settings, topic)
    assert reader.fetch(catalog.versions["m", 5].offset) == b"model"
    reader.close()
    # Once is enough.
    models.rollback("m", 5)
    assert models.read().versions["m", 5].offset == 2


def test_a_bare_descriptor_is_outnumbered_by_the_next_version(kafka: Kafka, topic: str, models: ModelPublisher) -> None:
    kafka.write(topic, [encode_descriptor(located(model_version=5))], b"m")
    assert states(models) == {"m/5": "live"}
    assert models.publish(located()).model_version == 6
    assert states(models) == {"m/5": "previous", "m/6": "live"}
