"""Two replicas each of TensorFlow Serving and MLServer, started once for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.certificates import Certificate, self_signed
from tests.models.scorers.learned import forest, rows_of
from tests.models.scorers.servers.mlserver_replica import MLSERVER, behave
from tests.models.scorers.servers.open_inference_server import Pair, started_pair
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
    """A certificate for 127.0.0.1 and models.example."""
    return self_signed(tmp_path_factory.mktemp("certificate"), "models.example")


@pytest.fixture(scope="session")
def replica_pair(serving_models: dict[str, Path], certificate: Certificate) -> Iterator[tuple[Replica, Replica]]:
    """Two servers with the same models. Only the first has TLS; the second lacks metadata and rejects large batches."""
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
    """The two servers, reset before and after the test, so that they are neither slow nor failing."""
    yield replica_pair
    for replica in replica_pair:
        replica.behave()


@pytest.fixture(scope="session")
def forest_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scikit-learn random forest in ONNX."""
    from skl2onnx import to_onnx

    path = tmp_path_factory.mktemp("forest") / "forest.onnx"
    path.write_bytes(to_onnx(forest(1), rows_of(1), options={"zipmap": False}).SerializeToString())
    return path


@pytest.fixture(scope="session")
def mlserver_pair(tmp_path_factory: pytest.TempPathFactory, forest_file: Path) -> Iterator[Pair]:
    """Two real MLServers with the same models."""
    yield from started_pair(MLSERVER, tmp_path_factory.mktemp("mlserver"), forest_file)


@pytest.fixture
def mlservers(mlserver_pair: Pair) -> Iterator[Pair]:
    """The two servers, reset before and after the test, so that they are not slow."""
    yield mlserver_pair
    for replica in mlserver_pair:
        behave(replica)
