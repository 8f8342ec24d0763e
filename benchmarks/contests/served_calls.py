"""Rows per second through a real MLServer over gRPC, with several calls in flight, beside a bare asynchronous client.

The model returns its input, so the figures are those of the protocol, the clients and the server. MLServer has an
environment of its own, which the tests install.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc.aio
import numpy as np
import pyarrow as pa
from open_inference.grpc import protocol, service

from benchmarks.contests.comparison import BATCHES, compared
from benchmarks.contests.contest import Contest, check_same_answers, load_contest, scoring_of
from models.tensors import Array

TYPE = "open-inference-grpc"
IN_FLIGHT = 8
# The calls of one measurement; each client keeps the allowed number in flight until all of them are answered.
_CALLS = 64
_MODEL = "adder"


def measure_served_calls(folder: Path, turns: int) -> Iterator[str]:
    """Yields a line with both speeds and their ratio for each batch size; `folder` must be empty."""
    from skl2onnx import to_onnx

    from tests.models.scorers.learned import forest, rows_of
    from tests.models.scorers.servers.mlserver_replica import MLSERVER

    # The tests' server needs this model, although nothing here calls it.
    unused = folder / "forest.onnx"
    unused.write_bytes(to_onnx(forest(1), rows_of(1), options={"zipmap": False}).SerializeToString())
    replica = MLSERVER.start(folder, unused)
    try:
        replica.wait_until_ready()
        address = f"127.0.0.1:{replica.grpc_port}"
        with BareClient(address) as client:
            yield from _speeds(address, client, turns)
    finally:
        replica.process.kill()


def _speeds(address: str, client: BareClient, turns: int) -> Iterator[str]:
    contest = Contest(
        f"grpc://{address}/{_MODEL}/versions/v3",
        lambda rows: client.score(rows, 1)[0],
        "y",
        columns=lambda rows: pa.record_batch({"x": pa.array(_values(rows))}),
        ready=_values,
    )
    model = load_contest(TYPE, contest)
    try:
        check_same_answers(model, contest)
        with ThreadPoolExecutor(IN_FLIGHT) as pool:
            for rows in BATCHES:
                score = scoring_of(model, contest, contest.columns(rows))
                speed = compared(rows * _CALLS, _repeated(pool, score), _bare(client, rows), turns, contest)
                yield f"  {TYPE:24}{speed.text(rows)}   {IN_FLIGHT} calls in flight; grpc.aio"
    finally:
        model.close()


def _values(rows: int) -> Array:
    return np.arange(rows, dtype=np.float32) + 100


def _repeated(pool: ThreadPoolExecutor, score: Callable[[], Any]) -> Callable[[], Any]:
    return lambda: list(pool.map(lambda _: score(), range(_CALLS)))


def _bare(client: BareClient, rows: int) -> Callable[[], Any]:
    ready = _values(rows)
    return lambda: client.score(ready, _CALLS)


class BareClient:
    """A client written directly with grpc.aio and the protocol's messages: no retries, no checks, one event loop."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._loop = asyncio.new_event_loop()

    def __enter__(self) -> BareClient:
        self._loop.run_until_complete(self._open())
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.run_until_complete(self._channel.close())
        self._loop.close()

    def score(self, values: Array, calls: int) -> list[Array]:
        """The answers to `calls` calls with the same values."""
        return self._loop.run_until_complete(self._score(values, calls))

    async def _open(self) -> None:
        self._channel = grpc.aio.insecure_channel(self._address)
        self._stub = service.GRPCInferenceServiceStub(self._channel)

    async def _score(self, values: Array, calls: int) -> list[Array]:
        free = asyncio.Semaphore(IN_FLIGHT)

        async def call(number: int) -> Array:
            async with free:
                request = protocol.ModelInferRequest(model_name=_MODEL, model_version="v3", id=str(number))
                request.inputs.add(name="x", datatype="FP32", shape=values.shape)
                request.raw_input_contents.append(values.tobytes())
                answer = await self._stub.ModelInfer(request)
                return np.frombuffer(answer.raw_output_contents[0], np.float32)

        return await asyncio.gather(*map(call, range(calls)))
