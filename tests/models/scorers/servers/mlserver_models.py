"""The models that MLServer serves in tests. It runs in MLServer's environment, so it imports nothing of ours.

Beyond the models, it answers on the REST port, because MLServer lets models add handlers:

- `POST /test/calls` lists the calls of `adder` so far, with their headers, ids and how many were in flight;
- `POST /test/behaviour?delay=SECONDS` makes `adder` slow.
"""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
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
        x = NumpyCodec.decode_input(payload.inputs[0])
        if (x == 13).any():
            raise ValueError("13 is not scored" + "!" * 10_000)
        number = int("".join(filter(str.isdigit, self.version or "")) or 0)
        outputs = [NumpyCodec.encode_output("y", (x + 1000 * number).astype(x.dtype))]
        return InferenceResponse(model_name=self.name, model_version=self.version, outputs=outputs)


class Kinds(MLModel):
    """The outputs are the inputs; `text` twice, and as MLServer encodes texts: with the shape [n, 1]."""

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


class Undefined(MLModel):
    """Without metadata; y is 1 / x, which gives infinity for 0."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        with np.errstate(all="ignore"):
            y = 1 / NumpyCodec.decode_input(payload.inputs[0])
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("y", y)])
