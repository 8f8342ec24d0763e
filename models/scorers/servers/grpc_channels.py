"""Channels and calls of gRPC, for the scorers of servers that speak it.

A single host name represents all of its addresses in the DNS. It is resolved again when a connection is lost, and,
while calls are made, every 30 s (`models.scorers.servers.refreshed_channel`). Several hosts are resolved once, at
load. Calls go to all addresses in turn (round_robin). With several hosts over TLS, all certificates must be issued to
the same name: the option `authority`, or by default the first host.

Every scorer over gRPC has these options, in addition to those of `models.scorers.servers.remote_options`:

=================  =======  =================================================================================
option             default  meaning
=================  =======  =================================================================================
`keepalive`        2        seconds of silence after which a connection is tested with a ping; after as many seconds
                            without an answer it is closed, and its calls go to another address
`keepalive.idle`   no       `yes`: also ping while no call is in flight, for networks that drop idle connections;
                            the server closes the connection unless it is configured to permit this
=================  =======  =================================================================================
"""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from models.errors import ModelLoadError
from models.observing.tracing import span
from models.scorers.option_reader import OptionReader
from models.scorers.servers.refreshed_channel import RefreshedChannel
from models.scorers.servers.remote_calls import RemoteCallError, Retries
from models.scorers.servers.remote_options import RemoteOptions
from models.scorers.servers.served_location import Address, ServedModel
from models.text import SERVER_TEXT_LIMIT, clean_text

# No call of a scorer changes the server's state, so one that failed in one of these ways can safely be repeated.
_TRANSIENT = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
    }
)

# RESOURCE_EXHAUSTED is also the status of a message or of metadata that are too large, which a retry cannot fix.
_TOO_LARGE = ("larger than max", "metadata size exceeds")

_METADATA_BYTES = 2**20


@dataclass(frozen=True)
class ChannelSettings:
    """The settings that determine a channel; scorers with equal settings share one.

    Attributes:
      target: the target in gRPC's syntax.
      authority: the requested host; None means that of the target.
      credentials: None for a plain connection; for TLS the trusted certificates (None: the system's), and the client's
        key and certificate.
      keepalive: seconds of silence before a ping, and seconds to wait for its answer.
      keepalive_idle: whether pings are also sent while no call is in flight.
    """

    target: str
    authority: str | None = None
    credentials: tuple[bytes | None, bytes | None, bytes | None] | None = field(default=None, repr=False)
    keepalive: float = 2.0
    keepalive_idle: bool = False

    def open(self) -> Any:
        """A new channel; it connects at the first call, and resolves a name again from time to time."""
        return RefreshedChannel(self._open) if self.target.startswith("dns:") else self._open()

    def _open(self) -> Any:
        if self.credentials is None:
            return grpc.insecure_channel(self.target, options=self._arguments())
        return grpc.secure_channel(
            self.target, grpc.ssl_channel_credentials(*self.credentials), options=self._arguments()
        )

    def _arguments(self) -> list[tuple[str, str | int]]:
        arguments: list[tuple[str, str | int]] = [
            ("grpc.service_config", json.dumps({"loadBalancingConfig": [{"round_robin": {}}]})),
            # A batch may be larger than the 4 MiB that gRPC allows by default.
            ("grpc.max_send_message_length", -1),
            ("grpc.max_receive_message_length", -1),
            # The text of an error is metadata. By default gRPC replaces some errors beyond 8 KiB, and all beyond
            # 16 KiB, by RESOURCE_EXHAUSTED, so that a long text of a model looked like an overload.
            ("grpc.max_metadata_size", _METADATA_BYTES),
            ("grpc.absolute_max_metadata_size", _METADATA_BYTES),
            # Keepalive also limits how long sent data may stay unacknowledged. A replica whose machine is gone is
            # therefore given up within the deadline, instead of after the minutes that TCP takes. Servers tolerate
            # pings during calls (gRPC sends at most two), but close connections with idle pings unless configured to
            # permit them.
            ("grpc.keepalive_time_ms", round(self.keepalive * 1000)),
            ("grpc.keepalive_timeout_ms", round(self.keepalive * 1000)),
            # In grpc 1.85 this argument limits the wait for the answer to a ping (60 s by default), and not the one
            # above.
            ("grpc.http2.ping_timeout_ms", round(self.keepalive * 1000)),
            ("grpc.keepalive_permit_without_calls", int(self.keepalive_idle)),
            # By default gRPC's pauses before it reconnects grow to two minutes, too long for a restarted replica.
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.min_reconnect_backoff_ms", 2_000),
            ("grpc.max_reconnect_backoff_ms", 3_000),
            ("grpc.dns_min_time_between_resolutions_ms", 3_000),
        ]
        return arguments if self.authority is None else [*arguments, ("grpc.default_authority", self.authority)]


class SharedChannels:
    """Channels by their settings, each open from the first `acquire` to the last `release`. Thread-safe.

    The lock is held while a channel is acquired or released, but never during a call.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._channels: dict[ChannelSettings, Any] = {}
        self._users: dict[ChannelSettings, int] = {}

    def acquire(self, settings: ChannelSettings) -> Any:
        """The channel with these settings; each `acquire` must be followed by one `release`."""
        with self._lock:
            if settings not in self._channels:
                self._channels[settings] = settings.open()
                self._users[settings] = 0
            self._users[settings] += 1
            return self._channels[settings]

    def release(self, settings: ChannelSettings) -> None:
        """Releases a channel, and closes it after its last user."""
        with self._lock:
            self._users[settings] -= 1
            if self._users[settings]:
                return
            del self._users[settings]
            channel = self._channels.pop(settings)
        channel.close()

    def users(self, settings: ChannelSettings) -> int:
        """The current number of users of the channel."""
        with self._lock:
            return self._users.get(settings, 0)


CHANNELS = SharedChannels()


class GrpcClient:
    """Calls the methods of one service on one target, with headers, deadline and retries. Thread-safe.

    `close` releases its channel.

    Args:
      address: the location of the model, for errors.
      options: the options of the scorer.
      settings: the settings of the channel.
    """

    def __init__(self, address: str, options: RemoteOptions, settings: ChannelSettings) -> None:
        self.address = address
        self._settings = settings
        self._retries = Retries(options)
        self._metadata = tuple(
            (name, value.encode() if name.endswith("-bin") else value) for name, value in options.headers.items()
        )
        self.channel = CHANNELS.acquire(settings)

    def call(
        self,
        method: Any,
        request: Any,
        check: Callable[[Any], None] | None = None,
        transient_text: re.Pattern[str] | None = None,
        name: str = "",
    ) -> Any:
        """Calls a method of a stub and returns its answer.

        Args:
          method: a method of a stub of `channel`.
          request: the message.
          name: SERVICE/METHOD, for traces.
          check: looks at each answer, and may raise a RemoteCallError.
          transient_text: matches the texts of errors that are transient regardless of their status.

        Raises:
          RemoteCallError: no attempt succeeded within the deadline.
        """

        def attempt(timeout: float) -> Any:
            answer = self._attempt(method, request, transient_text, timeout, name)
            if check is not None:
                check(answer)
            return answer

        return self._retries.call(attempt)

    def close(self) -> None:
        """Releases the channel."""
        CHANNELS.release(self._settings)

    def _attempt(
        self, method: Any, request: Any, transient_text: re.Pattern[str] | None, timeout: float, name: str
    ) -> Any:
        attributes = {"rpc.system.name": "grpc", "rpc.method": name, "server.address": self._settings.target}
        with span(name, "client", attributes) as traced:
            try:
                return method(request, timeout=timeout, metadata=(*self._metadata, *traced.headers().items()))
            except grpc.RpcError as error:
                code, text = error.code(), error.details() or ""
                traced.note("rpc.response.status_code", code.name)
                transient = code in _TRANSIENT and not any(part in text for part in _TOO_LARGE)
                transient = transient or (transient_text is not None and transient_text.search(text) is not None)
                message = f"{self.address}: {code.name}: {clean_text(text, SERVER_TEXT_LIMIT)}"
                raise RemoteCallError(message, status=code.name, transient=transient) from error


def read_channel_settings(reader: OptionReader, served: ServedModel, options: RemoteOptions) -> ChannelSettings:
    """Reads the settings for the addresses of a location, with the options of gRPC.

    Raises:
      ScorerOptionError: an option is invalid.
      ModelLoadError: one of several hosts is unknown.
    """
    return ChannelSettings(
        target=channel_target(served.addresses),
        authority=options.authority or (str(served.addresses[0]) if len(served.addresses) > 1 else None),
        credentials=_credentials(options) if served.secure else None,
        keepalive=reader.seconds("keepalive", ChannelSettings.keepalive),
        keepalive_idle=reader.choice("keepalive.idle", ("no", "yes")) == "yes",
    )


def channel_target(addresses: tuple[Address, ...]) -> str:
    """The target for gRPC: a name that gRPC resolves itself, or a list of addresses for several hosts.

    Raises:
      ModelLoadError: one of several hosts is unknown, or the hosts have no common version of IP.
    """
    if len(addresses) == 1:
        return f"dns:///{addresses[0]}"
    families = ((socket.AF_INET, "ipv4"), (socket.AF_INET6, "ipv6"))
    resolved = [_resolve(address) for address in addresses]
    for family, scheme in families:
        if all(any(known == family for known, _ in found) for found in resolved):
            texts = [str(address) for found in resolved for known, address in found if known == family]
            return f"{scheme}:{','.join(dict.fromkeys(texts))}"
    raise ModelLoadError(f"{', '.join(map(str, addresses))}: not all have an IPv4 address, and not all an IPv6 one")


def _resolve(address: Address) -> list[tuple[int, Address]]:
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise ModelLoadError(f"{address}: the host cannot be resolved: {error}") from error
    return [(family, Address(str(entry[0]), address.port)) for family, _, _, _, entry in found]


def _credentials(options: RemoteOptions) -> tuple[bytes | None, bytes | None, bytes | None]:
    return (_content(options.certificate_authorities), _content(options.key), _content(options.certificate))


def _content(path: Path | None) -> bytes | None:
    return None if path is None else path.read_bytes()
