from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.models.scorers.pfa.oracle import Titus


@pytest.fixture(scope="package")
def titus() -> Iterator[Titus]:
    with Titus() as one:
        yield one
