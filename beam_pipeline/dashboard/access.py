"""Who may ask for what: the middleware that refuses foreign hosts and pages, and sets the headers of every answer."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from beam_pipeline.dashboard.settings import Token

HEADERS = {
    # Everything comes from this server, and nothing is executed but its files.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class GuardedAccess:
    """Middleware: answers only requests for this server by a name that is its own, and sets `HEADERS`.

    A page elsewhere can make a browser send requests here, if its own name resolves to this address (DNS rebinding). It
    cannot make the browser name another host, though. Addresses are not names, so they are allowed.

    Args:
      app: the application.
      hosts: the host names of this server besides `localhost` and the machine's name.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str] = ()) -> None:
        self._app = app
        self._hosts = {"localhost", socket.gethostname().lower(), *(one.lower() for one in hosts)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        reason = self._refusal(scope["method"], Headers(scope=scope))
        answer: ASGIApp = self._app if reason is None else JSONResponse({"error": reason}, 403)
        await answer(scope, receive, send_with_headers)

    def _refusal(self, method: str, headers: Headers) -> str | None:
        """Why a request is refused; None if it is not."""
        host = headers.get("host", "")
        name = urlsplit(f"//{host}").hostname or ""
        if not self._is_own(name):
            return f"this dashboard is not known as {name[:100]!r}: start it with --allowed-host {name[:100]}"
        if method in ("GET", "HEAD"):
            return None
        origin, site = headers.get("origin"), headers.get("sec-fetch-site", "same-origin")
        if site not in ("same-origin", "none") or (origin is not None and urlsplit(origin).netloc != host):
            return "the request comes from another page"
        if headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            return "the request is not JSON"
        return None

    def _is_own(self, name: str) -> bool:
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return name.lower() in self._hosts
        return True


def may_act(request: Request, token: Token | None) -> bool:
    """Whether a request carries the token; never if actions are off."""
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    return token is not None and scheme.lower() == "bearer" and token.matches(given.strip())
