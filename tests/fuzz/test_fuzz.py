from __future__ import annotations

import logging

import pytest

from runners.local.schema_registry import LocalSchemaRegistry
from tests.fuzz.run import fuzz


@pytest.mark.slow
def test_random_records_give_one_message_each(
    schema_registry: LocalSchemaRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.CRITICAL):
        tally = fuzz(200_000, seed=9, registry=schema_registry.url)
    assert tally.records == 200_000
    assert min(tally.results - tally.errors, tally.errors, tally.dead_letters) > 1_000
