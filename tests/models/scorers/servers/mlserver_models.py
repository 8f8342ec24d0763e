"""Serves the models of `served_models.py` with MLServer, and others. It runs in MLServer's environment.

MLServer lets models add handlers, so the REST port also responds to these requests:

- `POST /test/calls` lists the calls of `adder` so far, with their headers, ids and the number of calls in flight;
- `POST /test/behaviour?delay=SECONDS` makes `adder` slow.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import served_models
from mlserver import MLModel
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.handlers import custom_handler
from mlserver.types import InferenceRequest, InferenceResponse, ResponseOutput

CALLS: list[dict[str, Any]] = []
BEHAVIOUR = {"delay": 0.0, "in_flight": 0}


class Adder(MLModel):
    """Input x, output y = x + 1000 * number, where number is the digits of the version."""

    async def load(self) -> bool:
        await asyncio.sleep(self.settings.parameters.extra.get("load_seconds", 0.0))
        return True

    @custom_handler(rest_path="/test/calls")
    async def calls(self) -> list[dict[str, Any]]:
        return CALLS

    @custom_handler(rest_path="/test/behaviour")
    async def behave(self, delay: float) -> dict[str, Any]:
        BEHAVIOUR["delay"] = delay
        return {}

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        BEHAVIOUR["in_flight"] += 1
        CALLS.append(
            {
                "id": payload.id,
                "headers": dict(payload.parameters.headers or {}) if payload.parameters else {},
                "outputs": [output.name for output in payload.outputs or []],
                "in_flight": BEHAVIOUR["in_flight"],
            }
        )
        await asyncio.sleep(BEHAVIOUR["delay"])
        BEHAVIOUR["in_flight"] -= 1
        y = served_models.added(NumpyCodec.decode_input(payload.inputs[0]), self.version)
        outputs = [NumpyCodec.encode_output("y", y)]
        return InferenceResponse(model_name=self.name, model_version=self.version, outputs=outputs)


class Constant(MLModel):
    """Input x, output y = the number in its settings."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        x = NumpyCodec.decode_input(payload.inputs[0])
        outputs = [NumpyCodec.encode_output("y", 0 * x + x.dtype.type(self.settings.parameters.extra["number"]))]
        return InferenceResponse(model_name=self.name, model_version=self.version, outputs=outputs)


class Kinds(MLModel):
    """`kinds` and `halves`; the text has the shape [n, 1] in the response, because MLServer encodes texts that way."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        outputs: list[ResponseOutput] = []
        for one in payload.inputs:
            if one.datatype == "BYTES":
                outputs.append(
                    StringCodec.encode_output(one.name, [2 * text for text in StringCodec.decode_input(one)])
                )
            else:
                outputs.append(NumpyCodec.encode_output(one.name, NumpyCodec.decode_input(one)))
        return InferenceResponse(model_name=self.name, model_version=self.version, outputs=outputs)


class Forest(MLModel):
    """`forest`."""

    async def load(self) -> bool:
        self._forest = served_models.Forest(Path(self.settings.parameters.extra["forest"]))
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        inputs = {one.name: NumpyCodec.decode_input(one) for one in payload.inputs}
        outputs = [NumpyCodec.encode_output(name, array) for name, array in self._forest(inputs).items()]
        return InferenceResponse(model_name=self.name, outputs=outputs)


class Undefined(MLModel):
    """A model without metadata; y is 1 / x, which is infinity for 0."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        with np.errstate(all="ignore"):
            y = 1 / NumpyCodec.decode_input(payload.inputs[0])
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("y", y)])
