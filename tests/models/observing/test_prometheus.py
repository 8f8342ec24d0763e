from __future__ import annotations

import math
import socket
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from models.errors import MetricsPortError
from models.observing import prometheus
from models.observing.instruments import MODELS_WAITING, RECORDS, STAGE_DURATION
from models.observing.prometheus import MetricsPage, MetricsServer
from models.observing.totals import Totals

DEPLOYMENT = 'wine "red"'
WAIT = 30.0
LABELS = ("score", 'wine "red"\n', "3")


@pytest.fixture
def totals() -> Totals:
    return Totals()


@pytest.fixture
def server(totals: Totals) -> Iterator[MetricsServer]:
    made = MetricsServer(totals, 0, DEPLOYMENT)
    yield made
    made.close()


@pytest.fixture
def page(totals: Totals, unique_port: Callable[[], int]) -> Iterator[MetricsPage]:
    """The page of the first process of a deployment."""
    made = MetricsPage(totals, unique_port(), DEPLOYMENT)
    yield made
    made.close()


def scraped(server: MetricsServer | MetricsPage) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
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


def test_the_page_names_the_deployment(server: MetricsServer) -> None:
    assert scraped(server)["beam_serving_process_info", frozenset({("deployment", DEPLOYMENT)})] == 1


def test_a_second_process_of_the_deployment_serves_without_a_page_until_the_port_is_free(
    totals: Totals, page: MetricsPage, caplog: pytest.LogCaptureFixture
) -> None:
    assert page.port is not None
    second = MetricsPage(Totals(), page.port, DEPLOYMENT, pause=0.01)
    try:
        (warning,) = caplog.messages
        assert f"--metrics-port {page.port} is in use by another process of {DEPLOYMENT!r}" in warning
        assert "0 gives each process a port of its own" in warning
        totals.measure(RECORDS, 5, ("clicks",))
        assert scraped(page)["beam_serving_records_total", frozenset({("topic", "clicks")})] == 5
        freed = page.port
        page.close()
        deadline = time.monotonic() + WAIT
        while second.port is None:
            assert time.monotonic() < deadline, "the port is not taken over"
            time.sleep(0.01)
        assert second.port == freed
        assert ("beam_serving_records_total", frozenset({("topic", "clicks")})) not in scraped(second)
    finally:
        second.close()


def test_a_process_that_waits_for_the_port_can_be_closed(page: MetricsPage) -> None:
    assert page.port is not None
    second = MetricsPage(Totals(), page.port, DEPLOYMENT)
    second.close()
    assert second.port is None
    assert scraped(page)


def test_a_port_that_another_deployment_uses_is_named_with_the_remedy(page: MetricsPage) -> None:
    assert page.port is not None
    with pytest.raises(MetricsPortError, match=rf"--metrics-port {page.port} is in use; choose another"):
        MetricsPage(Totals(), page.port, "another")


@pytest.mark.parametrize(
    "answer", [b"", b"SSH-2.0\r\n", b"HTTP/1.0 200 OK\r\n\r\n\xff{", b"HTTP/1.0 200 OK\r\n\r\n{} 1\n", None]
)
def test_a_port_that_something_else_uses_is_named_with_the_remedy(
    answer: bytes | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prometheus, "_SECONDS", 0.2)
    with answering(answer) as port, pytest.raises(MetricsPortError, match=rf"--metrics-port {port} is in use; choose"):
        MetricsPage(Totals(), port, DEPLOYMENT)


@contextmanager
def answering(answer: bytes | None) -> Iterator[int]:
    """The port of a server that gives this answer to one request, or never any."""
    with socket.create_server(("", 0)) as listening, ThreadPoolExecutor(1) as thread:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(1_000)
                if answer is None:
                    connection.recv(1)  # until the other side gives up
                else:
                    connection.sendall(answer)

        served = thread.submit(serve)
        yield listening.getsockname()[1]
        served.result(WAIT)


def test_a_closed_page_answers_no_more(totals: Totals) -> None:
    server = MetricsServer(totals, 0, DEPLOYMENT)
    server.close()
    with pytest.raises(OSError, match="refused"):
        scraped(server)
