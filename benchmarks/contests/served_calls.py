"""Rows per second through real servers over gRPC, with several calls in flight, beside a bare asynchronous client.

MLServer's model adds a number to its input, so its figures are those of the protocol, the clients and the server.
KServe's is a forest of ten trees. Both servers have environments of their own, which the tests install.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc.aio
import numpy as np
import pyarrow as pa
from open_inference.grpc import protocol, service

from benchmarks.contests.comparison import BATCHES, compared
from benchmarks.contests.contest import Contest, check_same_answers, load_contest, scoring_of
from models.tensors import Array

if TYPE_CHECKING:  # the tests' servers import TensorFlow, which no other figure should wait for
    from tests.models.scorers.servers.open_inference_server import OpenInferenceServer

TYPE = "open-inference-grpc"
# The calls of one measurement; each client keeps the allowed number in flight until all of them are answered.
_CALLS = 64


@dataclass(frozen=True)
class ServedCalls:
    """What is measured on one server.

    Attributes:
      name: the name of the server.
      server: starts it.
      path: the model and perhaps its version, as in locations.
      takes, gives: the names of its input and of the output to compare.
      ready: a number of rows as the bare client sends them, float32.
      fields: the fields of records from which ours fills the same input.
      in_flight: the number of calls in flight.
      batches: the numbers of rows of a call.
    """

    name: str
    server: OpenInferenceServer
    path: str
    takes: str
    gives: str
    ready: Callable[[int], Array]
    fields: tuple[str, ...]
    in_flight: int
    batches: tuple[int, ...]

    def columns(self, rows: int) -> pa.RecordBatch:
        """The same rows as decoded records."""
        values = self.ready(rows).reshape(rows, len(self.fields))
        return pa.RecordBatch.from_arrays([pa.array(one.copy()) for one in values.T], names=list(self.fields))


def _numbers(rows: int) -> Array:
    return np.arange(rows, dtype=np.float32) + 100


def _served() -> tuple[ServedCalls, ...]:
    from tests.models.scorers.learned import FEATURES, rows_of
    from tests.models.scorers.servers.kserve_replica import KSERVE
    from tests.models.scorers.servers.mlserver_replica import MLSERVER

    features = tuple(f"x{place}" for place in range(FEATURES))
    return (
        ServedCalls("MLServer", MLSERVER, "adder/versions/v3", "x", "y", _numbers, ("x",), 8, BATCHES),
        ServedCalls("KServe", KSERVE, "forest", "X", "probabilities", rows_of, features, 4, (64, 1_024)),
    )


def measure_served_calls(folder: Path, turns: int) -> Iterator[str]:
    """Yields a line with both speeds and their ratio for each server and batch size; `folder` must be empty."""
    from skl2onnx import to_onnx

    from tests.models.scorers.learned import forest, rows_of

    model = folder / "forest.onnx"
    model.write_bytes(to_onnx(forest(1), rows_of(1), options={"zipmap": False}).SerializeToString())
    for served in _served():
        place = folder / served.name
        place.mkdir()
        replica = served.server.start(place, model)
        try:
            replica.wait_until_ready()
            address = f"127.0.0.1:{replica.grpc_port}"
            with BareClient(address, served) as client:
                yield from _speeds(address, client, served, turns)
        finally:
            replica.process.kill()


def _speeds(address: str, client: BareClient, served: ServedCalls, turns: int) -> Iterator[str]:
    contest = Contest(
        f"grpc://{address}/{served.path}",
        lambda rows: client.score(rows, 1),
        served.gives,
        inputs={served.takes: served.fields},
        columns=served.columns,
        ready=served.ready,
    )
    model = load_contest(TYPE, contest)
    try:
        check_same_answers(model, contest)
        with ThreadPoolExecutor(served.in_flight) as pool:
            for rows in served.batches:
                score = scoring_of(model, contest, contest.columns(rows))
                bare = _bare(client, served.ready(rows))
                speed = compared(rows * _CALLS, _repeated(pool, served.in_flight, score), bare, turns, contest)
                yield f"  {TYPE:24}{speed.text(rows)}   {served.name}, {served.in_flight} calls in flight; grpc.aio"
    finally:
        model.close()


def _repeated(pool: ThreadPoolExecutor, in_flight: int, score: Callable[[], Any]) -> Callable[[], Any]:
    """Each thread calls as a worker's thread does, until all calls are made."""

    def repeat() -> None:
        left = iter(range(_CALLS))

        def keep_calling(_: int) -> None:
            for _ in left:
                score()

        list(pool.map(keep_calling, range(in_flight)))

    return repeat


def _bare(client: BareClient, ready: Array) -> Callable[[], Any]:
    return lambda: client.score(ready, _CALLS)


class BareClient:
    """A client written directly with grpc.aio and the protocol's messages: no retries, no checks, one event loop."""

    def __init__(self, address: str, served: ServedCalls) -> None:
        self._address = address
        self._served = served
        self._model, _, self._version = served.path.partition("/versions/")
        self._loop = asyncio.new_event_loop()

    def __enter__(self) -> BareClient:
        self._loop.run_until_complete(self._open())
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.run_until_complete(self._channel.close())
        self._loop.close()

    def score(self, values: Array, calls: int) -> Array:
        """The last answer to `calls` calls with the same values."""
        return self._loop.run_until_complete(self._score(values, calls))

    async def _open(self) -> None:
        self._channel = grpc.aio.insecure_channel(self._address)
        self._stub = service.GRPCInferenceServiceStub(self._channel)

    async def _score(self, values: Array, calls: int) -> Array:
        left = iter(range(calls))
        answer: Array = np.empty(0, np.float32)

        async def keep_calling() -> None:
            nonlocal answer
            for number in left:
                answer = await self._call(values, number)

        await asyncio.gather(*(keep_calling() for _ in range(self._served.in_flight)))
        return answer

    async def _call(self, values: Array, number: int) -> Array:
        request = protocol.ModelInferRequest(model_name=self._model, model_version=self._version, id=str(number))
        request.inputs.add(name=self._served.takes, datatype="FP32", shape=values.shape)
        request.raw_input_contents.append(values.tobytes())
        answer = await self._stub.ModelInfer(request)
        # Both models answer with the compared output last.
        return np.frombuffer(answer.raw_output_contents[-1], np.float32)
