"""The port of the pool of Python workers, which those who start the pool, and those who call it, know."""

from __future__ import annotations

# By default.
WORKER_POOL_PORT = 50000
