"""Sends events of OpenLineage over HTTP."""

from __future__ import annotations

from openlineage.client.event_v2 import RunEvent
from openlineage.client.transport.http import ApiKeyTokenProvider, HttpConfig, HttpTransport, TokenProvider

_SECONDS = 3.0


class LineageEndpoint:
    """An endpoint of OpenLineage, such as Marquez.

    Args:
      url: its address, without the path of the API.
      api_key: the key that it asks for, if any.
    """

    def __init__(self, url: str, api_key: str | None = None) -> None:
        auth = ApiKeyTokenProvider({"apiKey": api_key}) if api_key else TokenProvider({})
        # Retries are those of the reporter, which goes on with its other work in between.
        self._transport = HttpTransport(
            HttpConfig(f"{url.rstrip('/')}/", timeout=_SECONDS, auth=auth, retry={"total": 0})
        )

    def send(self, event: RunEvent) -> None:
        """Sends an event, for up to three seconds; raises an exception of requests if it is not accepted."""
        self._transport.emit(event)

    def close(self) -> None:
        """Closes the connection."""
        self._transport.close()
