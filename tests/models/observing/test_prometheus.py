from __future__ import annotations

import math
import socket
import urllib.request
from collections.abc import Iterator

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from models.errors import MetricsPortError
from models.observing.instruments import MODELS_WAITING, RECORDS, STAGE_DURATION
from models.observing.prometheus import MetricsServer
from models.observing.totals import Totals

LABELS = ("score", 'wine "red"\n', "3")


@pytest.fixture
def totals() -> Totals:
    return Totals()


@pytest.fixture
def server(totals: Totals) -> Iterator[MetricsServer]:
    made = MetricsServer(totals, 0)
    yield made
    made.close()


def scraped(server: MetricsServer) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_the_page_has_counters_gauges_and_cumulative_buckets(totals: Totals, server: MetricsServer) -> None:
    totals.measure(RECORDS, 5, ("clicks",))
    totals.measure(MODELS_WAITING, 2)
    totals.measure_all(STAGE_DURATION, np.array([0.0004, 0.02, 0.02, 500.0]), LABELS)
    found = scraped(server)
    assert found["beam_serving_records_total", frozenset({("topic", "clicks")})] == 5
    assert found["beam_serving_models_waiting", frozenset()] == 2
    labels = set(zip(STAGE_DURATION.labels, LABELS, strict=True))
    buckets = {
        float(dict(named)["le"]): value
        for (name, named), value in found.items()
        if name == "beam_serving_stage_duration_seconds_bucket" and labels <= named
    }
    assert set(buckets) == {*STAGE_DURATION.limits, math.inf}
    assert {limit: buckets[limit] for limit in (0.0005, 0.01, 0.025, 60.0, math.inf)} == {
        0.0005: 1,
        0.01: 1,
        0.025: 3,
        60.0: 3,
        math.inf: 4,
    }
    assert found["beam_serving_stage_duration_seconds_count", frozenset(labels)] == 4
    assert found["beam_serving_stage_duration_seconds_sum", frozenset(labels)] == pytest.approx(500.0404)


def test_a_port_in_use_is_named_with_the_remedy(server: MetricsServer) -> None:
    with socket.socket() as other:
        other.bind(("", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(MetricsPortError, match=rf"--metrics-port {port} is in use; choose another"):
            MetricsServer(Totals(), port)


def test_a_closed_page_answers_no_more(totals: Totals) -> None:
    server = MetricsServer(totals, 0)
    server.close()
    with pytest.raises(OSError, match="refused"):
        scraped(server)
