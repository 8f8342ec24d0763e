"""A channel that is replaced, on real servers: what the DNS says differs from one channel to the next."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest

from models.scorers.servers.refreshed_channel import RefreshedChannel

METHOD = "/tests.Named/Name"


class Named:
    """A server that answers its name; a request `wait` is answered when the test lets it go."""

    def __init__(self, name: bytes) -> None:
        self.called = threading.Event()
        self.go = threading.Event()
        self._name = name
        self._server = grpc.server(ThreadPoolExecutor(4))
        handler = grpc.unary_unary_rpc_method_handler(self._answer)
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("tests.Named", {"Name": handler}),))
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()

    def _answer(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        if request == b"wait":
            self.called.set()
            self.go.wait(20.0)
        return self._name

    def stop(self) -> None:
        self.go.set()
        self._server.stop(0).wait()


@pytest.fixture
def servers() -> Iterator[tuple[Named, Named]]:
    pair = Named(b"first"), Named(b"second")
    yield pair
    for server in pair:
        server.stop()


class Opened:
    """Channels to the servers in turn, as if the DNS answered something else each time."""

    def __init__(self, servers: tuple[Named, Named]) -> None:
        self._ports = [server.port for server in servers]
        self.channels: list[grpc.Channel] = []
        self.now = 0.0

    def open(self) -> grpc.Channel:
        self.channels.append(grpc.insecure_channel(f"127.0.0.1:{self._ports[len(self.channels) % 2]}"))
        return self.channels[-1]

    def clock(self) -> float:
        return self.now


def is_closed(channel: grpc.Channel) -> bool:
    try:
        channel.unary_unary(METHOD)(b"", timeout=5.0)
    except ValueError:  # gRPC's, for a call on a closed channel
        return True
    return False


@pytest.fixture
def opened(servers: tuple[Named, Named]) -> Opened:
    return Opened(servers)


@pytest.fixture
def channel(opened: Opened) -> Iterator[RefreshedChannel]:
    refreshed = RefreshedChannel(opened.open, 30.0, opened.clock)
    yield refreshed
    refreshed.close()


@pytest.fixture
def call(channel: RefreshedChannel) -> Callable[..., Any]:
    method = channel.unary_unary(METHOD)
    return lambda request=b"": method(request, timeout=20.0)


def test_calls_go_to_where_the_name_leads_after_a_while(opened: Opened, call: Callable[..., Any]) -> None:
    assert [call(), call()] == [b"first", b"first"]
    opened.now = 29.9
    assert call() == b"first"
    opened.now = 30.0
    assert [call(), call()] == [b"second", b"second"]
    assert is_closed(opened.channels[0])
    opened.now = 60.0
    assert call() == b"first"
    assert len(opened.channels) == 3


def test_a_call_in_flight_ends_where_it_began(
    servers: tuple[Named, Named], opened: Opened, call: Callable[..., Any]
) -> None:
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(call, b"wait")
        assert servers[0].called.wait(10.0)
        opened.now = 30.0
        assert call() == b"second"
        assert not is_closed(opened.channels[0])
        servers[0].go.set()
        assert waiting.result(10.0) == b"first"
    assert is_closed(opened.channels[0])


def test_many_threads_replace_it_once(opened: Opened, call: Callable[..., Any]) -> None:
    with ThreadPoolExecutor(8) as pool:
        opened.now = 30.0
        answers = {one.result(20.0) for one in [pool.submit(call) for _ in range(200)]}
    assert answers == {b"second"}
    assert len(opened.channels) == 2


def test_closing_it_closes_the_current_one(opened: Opened, channel: RefreshedChannel) -> None:
    channel.close()
    assert is_closed(opened.channels[0])
