"""TCP ports of this machine for servers that we start."""

from __future__ import annotations

import random
import socket

HOST = "127.0.0.1"

# Below the ranges from which systems take the ports of outgoing connections (32768 and up on Linux, 49152 and up
# elsewhere). A port from there could be taken by any client while a server restarts, even by a client that is
# reconnecting to that very server: TCP lets it connect to itself.
FIRST_PORT = 20_000
LAST_PORT = 32_000


def free_port() -> int:
    """A port on which nothing listens now. Drawn at random, so that two callers at once get different ones."""
    drawing = random.SystemRandom()
    for _ in range(1000):
        port = drawing.randint(FIRST_PORT, LAST_PORT)
        if is_free(port):
            return port
    raise OSError(f"no port between {FIRST_PORT} and {LAST_PORT} is free: stop some of the servers of this machine")


def is_free(port: int) -> bool:
    """Whether a server could listen on the port now."""
    with socket.socket() as probe:
        # As servers do: connections of an earlier server that linger in TIME_WAIT are no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            probe.listen(1)
        except OSError:
            return False
    return True
