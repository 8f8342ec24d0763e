from __future__ import annotations

import time

import pytest

from models.errors import ModelUnreachableError
from models.scorers.servers.remote_calls import RemoteCallError, Retries
from models.scorers.servers.remote_options import RemoteOptions


class Server:
    """Fails as set, then returns 42; records the time limit of each attempt in seconds."""

    def __init__(self, *transient: bool) -> None:
        self.failures = list(transient)
        self.timeouts: list[float] = []

    def __call__(self, timeout: float) -> int:
        self.timeouts.append(timeout)
        if self.failures:
            raise RemoteCallError("away", status="UNAVAILABLE", transient=self.failures.pop(0))
        return 42


def test_a_passing_failure_is_tried_again() -> None:
    server = Server(True, True)
    assert Retries(RemoteOptions(backoff=0.001)).call(server) == 42
    assert len(server.timeouts) == 3


def test_a_judgement_of_the_server_is_not_tried_again() -> None:
    server = Server(False)
    with pytest.raises(RemoteCallError, match=r"^away$"):
        Retries(RemoteOptions()).call(server)
    assert len(server.timeouts) == 1


def test_attempts_are_limited_and_the_error_gives_their_number() -> None:
    server = Server(*[True] * 5)
    with pytest.raises(RemoteCallError, match=r"away \(after 3 attempts\)") as caught:
        Retries(RemoteOptions(attempts=3, backoff=0.001)).call(server)
    assert caught.value.status == "UNAVAILABLE"
    assert caught.value.transient


@pytest.mark.parametrize("attempts", [1, 3])
def test_a_passing_failure_that_lasts_means_unreachable_also_at_the_first_attempt(attempts: int) -> None:
    with pytest.raises(ModelUnreachableError, match="away") as caught:
        Retries(RemoteOptions(attempts=attempts, backoff=0.001)).call(Server(*[True] * 9))
    assert isinstance(caught.value, RemoteCallError)
    assert "(after 1 " not in str(caught.value)


def test_a_deadline_that_expires_at_the_first_attempt_means_unreachable() -> None:
    server = Server(*[True] * 9)
    with pytest.raises(ModelUnreachableError):
        Retries(RemoteOptions(deadline=1e-9)).call(server)
    assert len(server.timeouts) == 1


def test_a_judgement_of_the_server_does_not_mean_unreachable() -> None:
    with pytest.raises(RemoteCallError) as caught:
        Retries(RemoteOptions(backoff=0.001)).call(Server(True, False))
    assert not isinstance(caught.value, ModelUnreachableError)


def test_attempts_end_before_the_deadline() -> None:
    started = time.monotonic()
    with pytest.raises(RemoteCallError, match="away"):
        Retries(RemoteOptions(deadline=0.2, attempts=1000, backoff=0.05, backoff_limit=0.05)).call(Server(*[True] * 99))
    assert time.monotonic() - started < 2


def test_each_attempt_gets_the_rest_of_the_deadline() -> None:
    server = Server(True)
    Retries(RemoteOptions(deadline=30, attempt_deadline=30, backoff=0.001)).call(server)
    first, second = server.timeouts
    assert 29 < second < first <= 30


def test_an_attempt_is_given_no_more_than_its_own_deadline() -> None:
    server = Server(True)
    Retries(RemoteOptions(deadline=30, attempt_deadline=0.5, backoff=0.001)).call(server)
    assert server.timeouts == [0.5, 0.5]


def test_there_is_no_pause_before_another_address_is_tried() -> None:
    server = Server(True, True)
    started = time.monotonic()
    assert Retries(RemoteOptions(backoff=20, backoff_limit=20, deadline=30), addresses=3).call(server) == 42
    assert time.monotonic() - started < 10
