"""librdkafka's mock cluster: a Kafka broker inside this process, which starts at once and needs no Java.

It is suitable for demonstrations and for tests of clients, but not for tests of data loss: it keeps about 5 MB per
partition and then drops the oldest records, does not compact, and answers neither CreateTopics nor DescribeConfigs.
A topic is created on first use, with four partitions; `EmbeddedBroker.create_topic` takes the number of partitions.
"""

from __future__ import annotations

import ctypes
from functools import cache
from types import TracebackType

import confluent_kafka.cimpl

from models.errors import ServingError

_PRODUCER = 0
_ALREADY_EXISTS = 36
_POINTER = ctypes.c_void_p
_SIGNATURES: dict[str, tuple[type | None, list[type]]] = {
    "rd_kafka_conf_new": (_POINTER, []),
    "rd_kafka_conf_set": (ctypes.c_int, [_POINTER, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t]),
    "rd_kafka_new": (_POINTER, [ctypes.c_int, _POINTER, ctypes.c_char_p, ctypes.c_size_t]),
    "rd_kafka_destroy": (None, [_POINTER]),
    "rd_kafka_err2str": (ctypes.c_char_p, [ctypes.c_int]),
    "rd_kafka_mock_cluster_new": (_POINTER, [_POINTER, ctypes.c_int]),
    "rd_kafka_mock_cluster_destroy": (None, [_POINTER]),
    "rd_kafka_mock_cluster_bootstraps": (ctypes.c_char_p, [_POINTER]),
    "rd_kafka_mock_topic_create": (ctypes.c_int, [_POINTER, ctypes.c_char_p, ctypes.c_int, ctypes.c_int]),
}


class EmbeddedBrokerError(ServingError):
    """The broker inside this process could not be created, or refused a topic."""


class EmbeddedBroker:
    """A broker inside this process, to which other processes on this machine can connect.

    Life cycle: it serves from construction until `close`; as a context manager it closes at the end. Close clients
    first, because the remaining ones log that they have lost the connection.

    Raises:
      EmbeddedBrokerError: the broker could not be created.
    """

    def __init__(self) -> None:
        self._library = _librdkafka()
        self._handle = _silent_handle(self._library)
        self._cluster = self._library.rd_kafka_mock_cluster_new(self._handle, 1)
        if not self._cluster:
            self._library.rd_kafka_destroy(self._handle)
            raise EmbeddedBrokerError("librdkafka created no mock cluster: use a real broker instead (make kafka).")
        self.bootstrap_servers: str = self._library.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()

    def create_topic(self, name: str, partitions: int = 1) -> None:
        """Creates a topic. An existing topic is left unchanged.

        Raises:
          EmbeddedBrokerError: the broker is closed or refuses the topic.
        """
        if self._cluster is None:
            raise EmbeddedBrokerError(f"The embedded broker is closed: it cannot create the topic {name}.")
        if partitions < 1:
            # Without this check, librdkafka would abort the whole process.
            raise EmbeddedBrokerError(f"The topic {name} needs at least one partition, not {partitions}.")
        code = self._library.rd_kafka_mock_topic_create(self._cluster, name.encode(), partitions, 1)
        if code not in (0, _ALREADY_EXISTS):
            reason = self._library.rd_kafka_err2str(code).decode()
            raise EmbeddedBrokerError(f"The embedded broker cannot create the topic {name}: {reason}")

    def close(self) -> None:
        """Ends the broker and drops all its records. Idempotent."""
        if self._cluster is not None:
            self._library.rd_kafka_mock_cluster_destroy(self._cluster)
            self._library.rd_kafka_destroy(self._handle)
            self._cluster = None

    def __enter__(self) -> EmbeddedBroker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@cache
def _librdkafka() -> ctypes.CDLL:
    """The librdkafka of confluent-kafka, loaded through its extension module, which exports the symbols.

    confluent-kafka itself has an option that creates a mock cluster, but cannot set how many partitions a topic has.
    """
    library = ctypes.CDLL(confluent_kafka.cimpl.__file__)
    for name, (result, arguments) in _SIGNATURES.items():
        try:
            function = getattr(library, name)
        except AttributeError:
            raise EmbeddedBrokerError(
                f"This confluent-kafka does not export {name} of librdkafka: install the version in setup.py."
            ) from None
        function.restype = result
        function.argtypes = arguments
    return library


def _silent_handle(library: ctypes.CDLL) -> int:
    reason = ctypes.create_string_buffer(512)
    settings = library.rd_kafka_conf_new()
    library.rd_kafka_conf_set(settings, b"log_level", b"0", reason, len(reason))
    handle: int | None = library.rd_kafka_new(_PRODUCER, settings, reason, len(reason))
    if not handle:
        raise EmbeddedBrokerError(f"librdkafka created no client: {reason.value.decode()}")
    return handle
