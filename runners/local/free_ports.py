"""Finds free TCP ports on this machine for servers that we start."""

from __future__ import annotations

import random
import socket

HOST = "127.0.0.1"

# These are below the ranges from which operating systems take the ports of outgoing connections (32768 and up on Linux,
# 49152 and up elsewhere). Any client could take a port in that range while a server restarts, even a client that is
# reconnecting to this server: TCP then connects it to itself.
FIRST_PORT = 20_000
LAST_PORT = 32_000


def free_port() -> int:
    """A random port on which nothing listens now; random, so that two concurrent callers get different ports."""
    drawing = random.SystemRandom()
    for _ in range(1000):
        port = drawing.randint(FIRST_PORT, LAST_PORT)
        if is_free(port):
            return port
    raise OSError(f"no port between {FIRST_PORT} and {LAST_PORT} is free: stop some servers on this machine")


def is_free(port: int) -> bool:
    """Whether a server can listen on the port now."""
    with socket.socket() as probe:
        # Servers set this too, so connections of an earlier server in TIME_WAIT do not matter.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            probe.listen(1)
        except OSError:
            return False
    return True
