"""Kafka clients as the whole application creates them: settings, defaults, and one shared log of broker outages."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicCollection
from confluent_kafka.admin import AdminClient

from models.errors import KafkaUnreachableError, OptionsError, TopicForbiddenError
from models.kafka.credentials import with_credentials, without_credentials
from models.kafka.standalone_consumer import GROUP, StandaloneConsumer

_LOGGER = logging.getLogger(__name__)

# The delivery guarantees of this application depend on these settings: a user's value would break one silently.
RESERVED = {
    "bootstrap.servers": "--bootstrap-servers",
    "group.id": "--group",
    "enable.auto.commit": "offsets are committed when the sink has acknowledged",
    "enable.auto.offset.store": "offsets are committed when the sink has acknowledged",
    "auto.offset.reset": "--start and --on-gap",
    "enable.idempotence": "the sink is idempotent",
    "enable.partition.eof": "the source keeps polling at the end of a partition",
    "isolation.level": "only committed records are read",
}
_PRODUCER_PREFIX = "producer."
_CONSUMER_PREFIX = "consumer."

# A pipeline lists its topics' partitions every five seconds, so a longer silence means that the brokers are down.
_SILENCE_SECONDS = 6.0
_PATIENCE_SECONDS = 8.0


@dataclass(frozen=True)
class KafkaSettings:
    """How to reach the brokers.

    Attributes:
      bootstrap_servers: HOST:PORT, or several of them separated by commas.
      config: additional librdkafka settings by name; the prefix "producer." or "consumer." restricts a setting to
        that client. A secret may be a reference (`models.secret_references`), and oauth_cb=google gets tokens
        from Google: both are resolved by the process that creates a client, at the moment it creates one.
    """

    bootstrap_servers: str
    config: Mapping[str, str] = field(default_factory=dict)

    def check(self) -> None:
        """Raises OptionsError for a setting that librdkafka does not know or that this application reserves.

        The check reads no secrets, so it can run where they are not accessible, such as on the submitting machine.
        """
        for name in self.config:
            bare = name.removeprefix(_PRODUCER_PREFIX).removeprefix(_CONSUMER_PREFIX)
            if bare in RESERVED:
                raise OptionsError(f"--kafka-config {name} cannot be set: {RESERVED[bare]}")
        checked = replace(self, config=without_credentials(self.config))
        try:
            checked.standalone_consumer().close()
            checked.producer().flush(0)
        except (KafkaException, ValueError, TypeError) as error:
            reason = error.args[0].str() if isinstance(error, KafkaException) else str(error)
            raise OptionsError(f"--bootstrap-servers or --kafka-config is wrong: {reason}") from error

    def consumer(self, group: str, **config: Any) -> Consumer:
        """Creates a consumer of a group that commits nothing on its own; the caller closes it.

        Args:
          group: the consumer group, whose committed offsets it can read.
          config: librdkafka settings that take precedence over the defaults and the user's settings.

        Raises:
          SecretUnavailableError, TokenUnavailableError: when a credential cannot be obtained.
        """
        return Consumer(self._of_consumer(group, config))

    def standalone_consumer(self, **config: Any) -> StandaloneConsumer:
        """Creates a consumer without a group; the caller assigns partitions and closes it. As `consumer` otherwise."""
        return StandaloneConsumer(self._of_consumer(GROUP, config))

    def _of_consumer(self, group: str, config: Mapping[str, Any]) -> dict[str, Any]:
        defaults = {
            "group.id": group,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "error",
            # librdkafka waits this long before it refills a queue that was full; its default of one second would
            # leave a fast reader without records.
            "fetch.queue.backoff.ms": 5,
            "socket.nagle.disable": True,
            "queued.min.messages": 20_000,
            "queued.max.messages.kbytes": 65_536,
            "fetch.message.max.bytes": 16_777_216,
            "fetch.max.bytes": 67_108_864,
        }
        return self._with_connection_log({**defaults, **self._for(_CONSUMER_PREFIX), **config})

    def producer(self, **config: Any) -> Producer:
        """Creates an idempotent producer that assigns keys to partitions as a Java producer does.

        Raises:
          SecretUnavailableError, TokenUnavailableError: when a credential cannot be obtained.
        """
        defaults = {
            "enable.idempotence": True,
            "acks": "all",
            "partitioner": "murmur2_random",
            # Enough for the messages of a batch to share requests. A flush does not wait for it.
            "linger.ms": 1,
            "socket.nagle.disable": True,
            "queue.buffering.max.messages": 1_000_000,
            "queue.buffering.max.kbytes": 262_144,
            "message.max.bytes": 67_108_864,
        }
        return Producer(self._with_connection_log({**defaults, **self._for(_PRODUCER_PREFIX), **config}))

    def admin(self) -> AdminClient:
        """Creates a client for topics and their settings.

        Raises:
          SecretUnavailableError, TokenUnavailableError: when a credential cannot be obtained.
        """
        return AdminClient(self._with_connection_log(self._for("")))

    def _for(self, prefix: str) -> dict[str, Any]:
        config = {name: value for name, value in self.config.items() if not _is_prefixed(name)}
        own = {name[len(prefix) :]: value for name, value in self.config.items() if prefix and name.startswith(prefix)}
        return {**config, **own}

    def _with_connection_log(self, config: dict[str, Any]) -> dict[str, Any]:
        log = ConnectionLog(self.bootstrap_servers)
        return {
            "bootstrap.servers": self.bootstrap_servers,
            "error_cb": log.on_error,
            "log_level": 3,
            **with_credentials(config),
            "logger": _QUIET,
        }


def _is_prefixed(name: str) -> bool:
    return name.startswith((_PRODUCER_PREFIX, _CONSUMER_PREFIX))


# librdkafka logs every refused connection, which floods the log during an outage. Its own log is therefore silenced,
# and ConnectionLog reports each outage once.
_QUIET = logging.getLogger("models.kafka.client.librdkafka")
_QUIET.addHandler(logging.NullHandler())
_QUIET.propagate = False


class ConnectionLog:
    """Logs once that the brokers are down, and once that they are back.

    librdkafka calls `on_error` from its own threads; readers and writers call `answered` after each success. An idle
    client notices an outage only when it is used again, by which time the outage may be over. Once the brokers have
    answered, a report is therefore only logged if no client of the process has had an answer for some seconds.
    """

    # Shared by the whole process, so that many clients log one line.
    _away: set[str] = set()  # noqa: RUF012
    _suspected: dict[str, int] = {}  # noqa: RUF012
    _answered_at: dict[str, float] = {}  # noqa: RUF012
    _lock = threading.Lock()

    def __init__(self, bootstrap_servers: str) -> None:
        self._servers = bootstrap_servers

    def on_error(self, error: KafkaError) -> None:
        """Receives the client-level errors of librdkafka, on one of its threads."""
        if error.code() == KafkaError._ALL_BROKERS_DOWN:
            self._suspect()
        elif error.fatal():
            _LOGGER.error("Kafka client failed for good: %s", error.str())

    @classmethod
    def answered(cls, bootstrap_servers: str) -> None:
        """Records that a broker answered, and logs the end of an outage."""
        with cls._lock:
            cls._answered_at[bootstrap_servers] = time.monotonic()
            was_away = bootstrap_servers in cls._away
            cls._away.discard(bootstrap_servers)
        if was_away:
            _LOGGER.warning("Kafka at %s answers again", bootstrap_servers)

    def _suspect(self) -> None:
        with self._lock:
            if self._servers in self._away:
                return
            # A client reports an outage only once, so a report that arrives while an earlier one is still being
            # judged has to be counted, or it would be lost.
            count = self._suspected.get(self._servers, 0) + 1
            self._suspected[self._servers] = count
            known = self._servers in self._answered_at
        if not known:
            self._judge(count)
        elif count == 1:
            self._judge_later(count)

    def _judge_later(self, count: int) -> None:
        patience = threading.Timer(_PATIENCE_SECONDS, self._judge, [count])
        patience.daemon = True
        patience.start()

    def _judge(self, count: int) -> None:
        with self._lock:
            silence = time.monotonic() - self._answered_at.get(self._servers, -math.inf)
            reported = self._suspected[self._servers]
            believed = silence >= _SILENCE_SECONDS
            if believed:
                self._away.add(self._servers)
            if believed or reported == count:
                del self._suspected[self._servers]
        if believed:
            _LOGGER.warning("Kafka at %s does not answer; waiting and trying again", self._servers)
        elif reported > count:
            self._judge_later(reported)


def partition_count(client: Consumer | Producer | AdminClient, topic: str, timeout: float) -> int:
    """The number of partitions of a topic; 0 when it does not exist (yet).

    Raises:
      KafkaUnreachableError: when no broker answers within `timeout` seconds.
      TopicForbiddenError: when the broker reports that this user may not describe the topic. (Most brokers leave such
        a topic out of the list instead; `check_not_forbidden` detects that.)
    """
    try:
        # List all topics: a request for one by name would create it on brokers that create topics on first use.
        metadata = client.list_topics(timeout=timeout).topics.get(topic)
    except KafkaException as error:
        raise KafkaUnreachableError(f"topic {topic!r}: no broker answered: {error.args[0].str()}") from error
    if metadata is not None and metadata.error:
        _check_allowed(topic, metadata.error)
    return 0 if metadata is None or metadata.error else len(metadata.partitions)


def check_not_forbidden(admin: AdminClient, topic: str, timeout: float) -> None:
    """Raises TopicForbiddenError for a topic that exists, or may exist, and that this user may not describe.

    The list of all topics omits such a topic, as if it did not exist.
    """
    try:
        admin.describe_topics(TopicCollection([topic]), request_timeout=timeout)[topic].result()
    except KafkaException as error:
        _check_allowed(topic, error.args[0])


def _check_allowed(topic: str, error: KafkaError) -> None:
    if error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
        raise TopicForbiddenError.of(topic)
