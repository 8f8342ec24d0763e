"""The model types that `make test` does not test, in a separate list, so that no type joins it unnoticed."""

from __future__ import annotations

# PyTorch takes 5 GB on Linux, so only `make test-heavy` installs it; tests/heavy has its contract and its other tests.
HEAVY_TYPES = {"pytorch"}
