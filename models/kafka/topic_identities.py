"""The ids of topics, which distinguish a recreated topic from the earlier one of the same name."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

ANSWER_SECONDS = 2.0
_PAUSE_SECONDS = 600.0


class TopicIdentities:
    """Requests the ids of topics from a broker. Used by one thread.

    Brokers before Kafka 2.8 have no ids, and librdkafka's mock cluster never answers the request. Records wait for the
    answer (`ModelFollower.wait_fresh`), so a broker that answers other requests but not this one is not asked again for
    ten minutes. A broker that cannot be reached is asked again at once.

    Args:
      admin: a client of the brokers.
      clock: returns a number of seconds that never decreases.
    """

    def __init__(self, admin: AdminClient, clock: Callable[[], float] = time.monotonic) -> None:
        self._admin = admin
        self._clock = clock
        self._ask_at = -math.inf

    def of(self, topic: str) -> str:
        """A topic's id; empty if the topic does not exist, or the broker does not provide one."""
        if self._clock() < self._ask_at:
            return ""
        try:
            futures = self._admin.describe_topics(TopicCollection([topic]), request_timeout=ANSWER_SECONDS)
            return str(futures[topic].result().topic_id)
        except KafkaException as error:
            if error.args[0].code() in (KafkaError._TIMED_OUT, KafkaError._UNSUPPORTED_FEATURE) and self._is_there():
                self._ask_at = self._clock() + _PAUSE_SECONDS
            return ""
        except ValueError:
            return ""

    def _is_there(self) -> bool:
        try:
            self._admin.list_topics(timeout=ANSWER_SECONDS)
        except KafkaException:
            return False
        return True
