"""HTTP servers in threads of this process, and waiting for one that runs in its own process."""

from __future__ import annotations

import ssl
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from runners.local.server_process import ServerProcess
from tests.certificates import Certificate


class QuietHandler(BaseHTTPRequestHandler):
    """A handler that does not log requests."""

    def send(self, status: int, content: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        """Sends a complete response, without its content if the request was HEAD."""
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def body(self) -> bytes:
        """Reads the body of the request."""
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def log_message(self, format: str, *arguments: object) -> None:
        """Does nothing."""


def server_context(certificate: Certificate) -> ssl.SSLContext:
    """The settings of a server with this certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.certificate, certificate.key)
    return context


@contextmanager
def http_server(handler: type[BaseHTTPRequestHandler], tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """Runs a server, with TLS if it is given, and yields its address as HOST:PORT."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def wait_until_served(process: ServerProcess, url: str, seconds: float) -> None:
    """Waits until the server in a process responds; fails with its log when it ends or does not respond in time."""
    end = time.monotonic() + seconds
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except OSError:
            assert process.running, process.log_end()
            assert time.monotonic() < end, process.log_end()
            time.sleep(0.1)
