"""Two replicas each of TensorFlow Serving and of MLServer, started once for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.certificates import Certificate, self_signed
from tests.models.scorers.servers import mlserver_replica
from tests.models.scorers.servers.tensorflow_serving_replica import (
    Replica,
    close,
    save_adder,
    save_kinds,
    save_named,
    start,
)


@pytest.fixture(scope="session")
def serving_models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The SavedModels that the replicas serve, by NAME:VERSION."""
    folder = tmp_path_factory.mktemp("serving_models")
    return {
        "adder:1": save_adder(folder / "adder" / "1", 1),
        "adder:2": save_adder(folder / "adder" / "2", 2),
        "kinds:1": save_kinds(folder / "kinds"),
        "wine:1": save_named(folder / "wine", "predict"),
        "ambiguous:1": save_named(folder / "ambiguous", "single", "double"),
    }


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """A certificate of 127.0.0.1 and of models.example."""
    return self_signed(tmp_path_factory.mktemp("certificate"), "models.example")


@pytest.fixture(scope="session")
def replica_pair(serving_models: dict[str, Path], certificate: Certificate) -> Iterator[tuple[Replica, Replica]]:
    """Two servers of the same models. Only the first has TLS; the second knows no metadata and no large batches."""
    labels = {"adder:stable": 1}
    with ExitStack() as stack:
        first = start(serving_models, labels, certificate=certificate)
        stack.callback(close, first)
        second = start(serving_models, labels, arguments=("--without-metadata", "--max-message-mib", "4"))
        stack.callback(close, second)
        first.wait_until_ready()
        second.wait_until_ready()
        yield first, second


@pytest.fixture
def replicas(replica_pair: tuple[Replica, Replica]) -> Iterator[tuple[Replica, Replica]]:
    """The two servers, neither slow nor failing before and after the test."""
    yield replica_pair
    for replica in replica_pair:
        replica.behave()


@pytest.fixture(scope="session")
def mlserver_pair(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[mlserver_replica.Replica, mlserver_replica.Replica]]:
    """Two real MLServers with the same models."""
    with ExitStack() as stack:
        pair = []
        for _ in range(2):
            pair.append(mlserver_replica.start(tmp_path_factory.mktemp("mlserver")))
            stack.callback(pair[-1].process.kill)
        for replica in pair:
            replica.wait_until_ready()
        yield pair[0], pair[1]


@pytest.fixture
def mlservers(
    mlserver_pair: tuple[mlserver_replica.Replica, mlserver_replica.Replica],
) -> Iterator[tuple[mlserver_replica.Replica, mlserver_replica.Replica]]:
    """The two servers, not slow before and after the test."""
    yield mlserver_pair
    for replica in mlserver_pair:
        replica.behave()
