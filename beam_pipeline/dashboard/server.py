"""Runs the dashboard until a signal ends it."""

from __future__ import annotations

import socket
from collections.abc import Callable

import uvicorn

from beam_pipeline.dashboard.actions import Actions
from beam_pipeline.dashboard.application import make_application
from beam_pipeline.dashboard.followed import FollowedTopics
from beam_pipeline.dashboard.settings import DashboardSettings
from models.errors import OptionsError

# Open streams of events would hold up the end for ever.
_SHUTDOWN_SECONDS = 1


def serve(settings: DashboardSettings, host: str, port: int, announce: Callable[[str], None]) -> None:
    """Serves the page until SIGINT or SIGTERM.

    Args:
      settings: what the page shows.
      host: the address or name to listen at.
      port: the port; 0 for any free one.
      announce: called with the address of the page once it answers.

    Raises:
      OptionsError: nothing can listen at this address.
    """
    listening = _listen(host, port)
    followed, actions = FollowedTopics(settings), Actions(settings)
    followed.start()
    try:
        config = uvicorn.Config(
            make_application(settings, followed, actions),
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
        )
        announce(_address(listening))
        uvicorn.Server(config).run(sockets=[listening])
    finally:
        actions.close()
        followed.close()
        listening.close()


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(where[:2], family=family)
    except OSError as error:
        raise OptionsError(f"the dashboard cannot listen at --host {host} --port {port}: {error.strerror}") from error


def _address(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
