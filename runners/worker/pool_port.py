"""The port of the pool of Python workers, shared by the code that starts the pool and the code that calls it."""

from __future__ import annotations

# The default port.
WORKER_POOL_PORT = 50000
