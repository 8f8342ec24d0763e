"""Calls over HTTP, for the scorers of servers that speak REST.

Several addresses are called in turn. An address that fails is skipped for a while, and the call goes to the next one.

Every scorer over REST has these options, in addition to those of `models.scorers.servers.remote_options`:

=================  ==========  ==============================================================================
option             default     meaning
=================  ==========  ==============================================================================
`connections`      16          connections kept open to each address; up to as many concurrent calls can reuse
                               a connection
`tls.insecure`     no          `yes`: accept any certificate
=================  ==========  ==============================================================================
"""

from __future__ import annotations

import itertools
import json
import re
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import urllib3
from urllib3.exceptions import HTTPError, SSLError

from models.errors import ScorerOptionError
from models.observing.tracing import Span, span
from models.scorers.option_reader import OptionReader
from models.scorers.servers.remote_calls import RemoteCallError, Retries
from models.scorers.servers.remote_options import RemoteOptions
from models.scorers.servers.served_location import Address, ServedModel
from models.text import SERVER_TEXT_LIMIT, clean_text

TRANSIENT = frozenset({429, 502, 503, 504})

# A connection attempt to a machine that is gone ends after this time, which leaves enough of the deadline for the next
# address.
_CONNECT_SECONDS = 1.0

_LEFT_OUT_SECONDS = 2.0


class AddressRing:
    """Returns addresses in turn, without those that failed recently, unless all of them did.

    It is thread-safe without a lock, because each change is one atomic operation of the interpreter.
    """

    def __init__(self, addresses: Sequence[Address]) -> None:
        self._addresses = tuple(addresses)
        self._turn = itertools.count()
        self._left_out_until: dict[Address, float] = {}

    def next(self) -> Address:
        """The address to call now."""
        now = time.monotonic()
        usable = [address for address in self._addresses if self._left_out_until.get(address, 0.0) <= now]
        candidates = usable or self._addresses
        return candidates[next(self._turn) % len(candidates)]

    def failed(self, address: Address) -> None:
        """Skips the address for some seconds."""
        self._left_out_until[address] = time.monotonic() + _LEFT_OUT_SECONDS

    def answered(self, address: Address) -> None:
        """Stops skipping the address."""
        self._left_out_until.pop(address, None)


@dataclass(frozen=True)
class RestOptions:
    """The options of every scorer over REST; the module's docstring explains each."""

    connections: int = 16
    insecure: bool = False

    @classmethod
    def read(cls, reader: OptionReader, *, secure: bool) -> RestOptions:
        """Reads the options.

        Args:
          reader: the reader of the descriptor's options.
          secure: whether the location uses TLS.

        Raises:
          ScorerOptionError: a value is invalid.
        """
        connections = reader.count("connections", cls.connections)
        insecure = reader.choice("tls.insecure", ("no", "yes")) == "yes"
        if insecure and not secure:
            raise ScorerOptionError("option tls.insecure: the location does not use TLS")
        return cls(connections, insecure)


@dataclass(frozen=True)
class RestAnswer:
    """The successful answer to a call.

    Attributes:
      url: the URL that was called, for errors.
      content: the body.
      headers: the headers by name, which may be in upper or lower case.
    """

    url: str
    content: bytes
    headers: Mapping[str, str]


class RestClient:
    """Calls a list of addresses, with headers, connections, deadline and retries. Thread-safe.

    Args:
      served: the model's location.
      options: the options of every remote scorer.
      rest: the options of every scorer over REST.
    """

    def __init__(self, served: ServedModel, options: RemoteOptions, rest: RestOptions) -> None:
        self._scheme = "https" if served.secure else "http"
        self._ring = AddressRing(served.addresses)
        self._retries = Retries(options, len(served.addresses))
        self._headers = {"content-type": "application/json", **options.headers}
        if options.authority is not None:
            self._headers["host"] = options.authority
        tls = _tls_arguments(options, insecure=rest.insecure) if served.secure else {}
        self._pools = urllib3.PoolManager(num_pools=len(served.addresses), maxsize=rest.connections, **tls)

    def call(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        transient: Collection[int] = TRANSIENT,
        transient_text: re.Pattern[str] | None = None,
    ) -> RestAnswer:
        """Calls a path.

        Args:
          method: the HTTP method.
          path: the path after the address.
          body: the body of the request.
          headers: headers that take precedence over those of the options.
          transient: the HTTP statuses after which the call is repeated.
          transient_text: matches the texts of errors that are transient regardless of their status.

        Raises:
          RemoteCallError: no attempt succeeded within the deadline; the message has the address, the HTTP status and
            the server's text.
        """
        request = {"method": method, "body": body, "headers": {**self._headers, **(headers or {})}}

        def is_transient(status: int, text: str) -> bool:
            return status in transient or (transient_text is not None and transient_text.search(text) is not None)

        return self._retries.call(lambda timeout: self._attempt(path, request, is_transient, timeout))

    def close(self) -> None:
        """Closes the connections."""
        self._pools.clear()

    def _attempt(
        self, path: str, request: dict[str, Any], is_transient: Callable[[int, str], bool], timeout: float
    ) -> RestAnswer:
        address = self._ring.next()
        url = f"{self._scheme}://{address}{path}"
        attributes = {
            "http.request.method": request["method"],
            "url.full": url,
            "server.address": address.host,
            "server.port": address.port,
        }
        with span(f"{request['method']} {path}", "client", attributes) as traced:
            return self._send(address, url, request, is_transient, timeout, traced)

    def _send(
        self,
        address: Address,
        url: str,
        request: dict[str, Any],
        is_transient: Callable[[int, str], bool],
        timeout: float,
        traced: Span,
    ) -> RestAnswer:
        limits = urllib3.Timeout(connect=min(timeout, _CONNECT_SECONDS), total=timeout)
        request = {**request, "headers": {**request["headers"], **traced.headers()}}
        try:
            response = self._pools.request(url=url, **request, timeout=limits, retries=False, redirect=False)
        except HTTPError as error:
            self._ring.failed(address)
            transient = not isinstance(error, SSLError)
            text = clean_text(str(error), SERVER_TEXT_LIMIT)
            raise RemoteCallError(f"{url}: {text}", status="", transient=transient) from error
        traced.note("http.response.status_code", response.status)
        if response.status == 200:
            self._ring.answered(address)
            return RestAnswer(url, response.data, response.headers)
        reason = clean_text(_error_text(response.data) or response.reason or "", SERVER_TEXT_LIMIT)
        transient = is_transient(response.status, reason)
        if transient:
            self._ring.failed(address)
        else:
            self._ring.answered(address)
        text = f"{url}: {response.status}: {reason}"
        raise RemoteCallError(text, status=str(response.status), transient=transient)


def _tls_arguments(options: RemoteOptions, *, insecure: bool) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "cert_reqs": "CERT_NONE" if insecure else "CERT_REQUIRED",
        "ca_certs": options.certificate_authorities and str(options.certificate_authorities),
        "cert_file": options.certificate and str(options.certificate),
        "key_file": options.key and str(options.key),
    }
    if options.authority is not None:
        name = urllib3.util.parse_url(f"https://{options.authority}").host
        arguments["server_hostname"] = name
        # Setting a name here would enable the host name check again, which `tls.insecure` disables.
        arguments["assert_hostname"] = False if insecure else name
    return arguments


def _error_text(content: bytes) -> str:
    text = content.decode("utf-8", "replace").strip()
    try:
        value = json.loads(text)
    except ValueError:
        return _end_of_traceback(text)  # from something in front of the server, such as a proxy
    return str(value["error"]) if isinstance(value, dict) and "error" in value else text


def _end_of_traceback(text: str) -> str:
    """The error at the end of a Python traceback, with which MLServer answers; any other text unchanged."""
    if not text.startswith("Traceback (most recent call last):"):
        return text
    lines = text.splitlines()
    # The lines of code in a traceback are indented, those of the error are not.
    end = max((number for number, line in enumerate(lines, 1) if line.startswith(" ")), default=0)
    return "\n".join(lines[end:]) or text
