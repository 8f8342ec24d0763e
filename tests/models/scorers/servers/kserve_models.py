"""Serves the models of `served_models.py` with KServe's own server. It runs in KServe's environment.

It adds `GET /test/calls`, which returns the number of calls of `adder` so far. By default KServe listens on all
interfaces; here it listens only on this machine's loopback interface.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import kserve.protocol.grpc.server as grpc_server
import kserve.protocol.rest.server as rest_server
import served_models
from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer
from kserve.model_server import app
from kserve.utils.numpy_codec import from_np_dtype
from served_models import Array, Tensors

HOST = "127.0.0.1"
CALLS = {"adder": 0}

Answer = Callable[[Mapping[str, Array]], Mapping[str, Array]]


class Served(Model):
    """A model of `served_models.py`.

    Args:
      name: the name of the model.
      answer: its function.
      inputs, outputs: its inputs and outputs, as in its metadata.
      typed: whether responses over gRPC contain lists of values; otherwise they have the form of the request, as with
        the runtimes that KServe ships.
    """

    def __init__(self, name: str, answer: Answer, inputs: Tensors, outputs: Tensors, *, typed: bool = True) -> None:
        super().__init__(name)
        self._answer, self._inputs, self._outputs, self._typed = answer, inputs, outputs, typed
        self.load()

    async def get_input_types(self) -> Tensors:
        return self._inputs

    async def get_output_types(self) -> Tensors:
        return self._outputs

    def predict(self, payload: InferRequest, headers: Mapping[str, str] | None = None, **_: Any) -> InferResponse:
        if self.name in CALLS:
            CALLS[self.name] += 1
        binary = payload.use_binary_outputs and not self._typed
        outputs = []
        for name, array in self._answer({one.name: one.as_numpy() for one in payload.inputs}).items():
            outputs.append(InferOutput(name, list(array.shape), from_np_dtype(array.dtype)))
            outputs[-1].set_data_from_numpy(array, binary_data=binary)
        return InferResponse(payload.id, self.name, outputs, use_binary_outputs=binary)


def _listen_on_this_machine_only() -> None:
    config, server = rest_server.uvicorn.Config, grpc_server.aio.server

    def local_server(*arguments: Any, **named: Any) -> Any:
        made = server(*arguments, **named)
        add = made.add_insecure_port
        made.add_insecure_port = lambda address: add(f"{HOST}:{address.rpartition(':')[2]}")
        return made

    rest_server.uvicorn.Config = lambda *arguments, **named: config(*arguments, **{**named, "host": HOST})
    grpc_server.aio.server = local_server


def main() -> None:
    """Loads the models, and serves them until the process ends."""
    parser = argparse.ArgumentParser()
    for name, kind in (("--http_port", int), ("--grpc_port", int), ("--load_seconds", float), ("--forest", Path)):
        parser.add_argument(name, type=kind, required=True)
    options = parser.parse_args()
    time.sleep(options.load_seconds)
    add = partial(served_models.added, version="0")
    mirror, halves, kinds = served_models.mirrored, served_models.HALVES, served_models.KINDS
    models = [
        Served("adder", lambda inputs: {"y": add(inputs["x"])}, served_models.X, served_models.Y),
        Served("kinds", mirror, kinds, kinds),
        Served("halves", mirror, halves, halves),
        Served(
            "forest",
            served_models.Forest(options.forest),
            served_models.FEATURES,
            served_models.CLASSES,
            typed=False,
        ),
    ]
    app.add_api_route("/test/calls", lambda: CALLS["adder"])
    _listen_on_this_machine_only()
    ModelServer(options.http_port, options.grpc_port).start(models)


if __name__ == "__main__":
    main()
