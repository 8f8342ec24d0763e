"""Kafka clients as all parts of the application make them: settings, defaults, and what they say of the broker."""

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

_LOGGER = logging.getLogger(__name__)

# Settings on which the promises of this application rest: a user's own value would break one silently.
RESERVED = {
    "bootstrap.servers": "--bootstrap-servers",
    "group.id": "--group",
    "enable.auto.commit": "offsets are committed when the sink has acknowledged",
    "enable.auto.offset.store": "offsets are committed when the sink has acknowledged",
    "auto.offset.reset": "--start and --on-gap",
    "enable.idempotence": "the sink is idempotent",
    "enable.partition.eof": "the source reads on at the end of a partition",
    "isolation.level": "only what was committed is read",
}
_PRODUCER_PREFIX = "producer."
_CONSUMER_PREFIX = "consumer."

# A pipeline asks for its topics' partitions every five seconds: after more silence than that the brokers are away.
_SILENCE_SECONDS = 6.0
_PATIENCE_SECONDS = 8.0


@dataclass(frozen=True)
class KafkaSettings:
    """How to reach the brokers.

    Attributes:
      bootstrap_servers: HOST:PORT, several with commas.
      config: further settings of librdkafka, by their own names; a name after "producer." or "consumer." goes to
        that client alone. A secret may be a reference (`models.kafka.secret_references`), and oauth_cb=google takes
        tokens from Google: both are followed by the process that makes a client, and only then.
    """

    bootstrap_servers: str
    config: Mapping[str, str] = field(default_factory=dict)

    def check(self) -> None:
        """Raises OptionsError for a setting that librdkafka does not know, or that this application keeps.

        No secret is read for it.
        """
        for name in self.config:
            bare = name.removeprefix(_PRODUCER_PREFIX).removeprefix(_CONSUMER_PREFIX)
            if bare in RESERVED:
                raise OptionsError(f"--kafka-config {name} cannot be set: {RESERVED[bare]}")
        checked = replace(self, config=without_credentials(self.config))
        try:
            checked.consumer("check").close()
            checked.producer().flush(0)
        except (KafkaException, ValueError, TypeError) as error:
            reason = error.args[0].str() if isinstance(error, KafkaException) else str(error)
            raise OptionsError(f"--bootstrap-servers or --kafka-config is wrong: {reason}") from error

    def consumer(self, group: str, **config: Any) -> Consumer:
        """A consumer that is assigned its partitions by hand and commits nothing by itself."""
        defaults = {
            "group.id": group,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "error",
            # After this pause a full queue is filled again; a second (the default) starves a fast reader.
            "fetch.queue.backoff.ms": 5,
            "socket.nagle.disable": True,
            "queued.min.messages": 20_000,
            "queued.max.messages.kbytes": 65_536,
            "fetch.message.max.bytes": 16_777_216,
            "fetch.max.bytes": 67_108_864,
        }
        return Consumer(self._with_connection_log({**defaults, **self._for(_CONSUMER_PREFIX), **config}))

    def producer(self, **config: Any) -> Producer:
        """An idempotent producer whose keys go to the partitions that a Java producer would choose."""
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
        """A client for topics and their settings."""
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


# librdkafka writes a line for every refused connection; ConnectionLog says it once.
_QUIET = logging.getLogger("models.kafka.client.librdkafka")
_QUIET.addHandler(logging.NullHandler())
_QUIET.propagate = False


class ConnectionLog:
    """Says once that the brokers are away, and once that they are back.

    A client calls `on_error` from its own threads; whoever reads or writes calls `answered` when that worked. A client
    that rests tells of an outage only when it is used again: once the brokers have answered anybody, it is believed
    when nobody else has an answer either.
    """

    # One for the whole process: many clients, one sentence.
    _away: set[str] = set()  # noqa: RUF012
    _suspected: dict[str, int] = {}  # noqa: RUF012
    _answered_at: dict[str, float] = {}  # noqa: RUF012
    _lock = threading.Lock()

    def __init__(self, bootstrap_servers: str) -> None:
        self._servers = bootstrap_servers

    def on_error(self, error: KafkaError) -> None:
        """Called by librdkafka with every error of the client's own."""
        if error.code() == KafkaError._ALL_BROKERS_DOWN:
            self._suspect()
        elif error.fatal():
            _LOGGER.error("Kafka client failed for good: %s", error.str())

    @classmethod
    def answered(cls, bootstrap_servers: str) -> None:
        """Called when a broker answered."""
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
            # A client tells once: what it told while another was not believed yet must not be forgotten.
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
            told = self._suspected[self._servers]
            believed = silence >= _SILENCE_SECONDS
            if believed:
                self._away.add(self._servers)
            if believed or told == count:
                del self._suspected[self._servers]
        if believed:
            _LOGGER.warning("Kafka at %s does not answer; waiting and trying again", self._servers)
        elif told > count:
            self._judge_later(told)


def partition_count(client: Consumer | Producer | AdminClient, topic: str, timeout: float) -> int:
    """How many partitions a topic has; 0 when it does not exist (yet).

    Raises:
      KafkaUnreachableError: when no broker answers in `timeout` seconds.
      TopicForbiddenError: when the broker says that this user may not describe the topic. (Most leave such a topic out
        of the list: `check_not_forbidden` finds out.)
    """
    try:
        # All topics: asking for one by name makes it, where brokers make topics on first use.
        metadata = client.list_topics(timeout=timeout).topics.get(topic)
    except KafkaException as error:
        raise KafkaUnreachableError(f"topic {topic!r}: no broker answered: {error.args[0].str()}") from error
    if metadata is not None and metadata.error:
        _check_allowed(topic, metadata.error)
    return 0 if metadata is None or metadata.error else len(metadata.partitions)


def check_not_forbidden(admin: AdminClient, topic: str, timeout: float) -> None:
    """Raises TopicForbiddenError for a topic that exists, or may exist, and that this user may not describe.

    A list of all topics leaves such a topic out, as if it did not exist.
    """
    try:
        admin.describe_topics(TopicCollection([topic]), request_timeout=timeout)[topic].result()
    except KafkaException as error:
        _check_allowed(topic, error.args[0])


def _check_allowed(topic: str, error: KafkaError) -> None:
    if error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
        raise TopicForbiddenError.of(topic)
