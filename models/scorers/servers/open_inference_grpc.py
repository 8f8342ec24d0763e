"""modelType `open-inference-grpc`: a model on a server of the Open Inference protocol (V2), called over gRPC.

The location is `grpc://HOST:PORT[,HOST:PORT...]/MODEL[/versions/V]`, or `grpcs://` for TLS. A load-balancing proxy is
one address; the option `authority` names the host that it routes by.

The options are those of `models.scorers.servers.remote_options`, `models.scorers.servers.grpc_channels` and
`models.scorers.servers.open_inference`.

Inputs are sent in binary form. Triton and MLServer answer in the same form, KServe in lists of values.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from open_inference.grpc import protocol, service

from models.errors import ScoringError
from models.scorers.base import ModelSource
from models.scorers.option_reader import OptionReader
from models.scorers.servers.grpc_channels import ChannelSettings, GrpcClient, read_channel_settings
from models.scorers.servers.open_inference import (
    NOT_READY,
    Inference,
    ModelMetadata,
    OpenInferenceOptions,
    OpenInferenceScorer,
    next_id,
    open_scorer,
)
from models.scorers.servers.open_inference_tensors import (
    datatype_dtype,
    datatype_name,
    object_array,
    raw_array,
    raw_content,
    shaped,
    tensor_spec,
)
from models.scorers.servers.remote import closed_on_failure
from models.scorers.servers.remote_calls import RemoteCallError
from models.scorers.servers.remote_options import RemoteOptions
from models.scorers.servers.served_location import LocationForm, ServedModel
from models.tensors import Array
from models.text import SERVER_TEXT_LIMIT, error_text

IN_PROCESS = False
LOCATION = LocationForm(
    schemes=("grpc", "grpcs"),
    path=r"/(?P<model>[^/:?#]+)(?:/versions/(?P<label>[^/:?#]+))?",
    example="grpc[s]://HOST:PORT[,HOST:PORT...]/MODEL[/versions/V]",
)

# The field of the values of each datatype, where they are not in binary form; FP16 has none.
_FIELDS: Mapping[str, str] = {
    "BOOL": "bool_contents",
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    "INT64": "int64_contents",
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}


class InferenceClient(GrpcClient):
    """Calls one model on one target; see `models.scorers.servers.open_inference.OpenInferenceClient`."""

    def __init__(self, address: str, served: ServedModel, options: RemoteOptions, settings: ChannelSettings) -> None:
        super().__init__(address, options, settings)
        self._served = served
        self._stub = service.GRPCInferenceServiceStub(self.channel)

    def wait_until_ready(self) -> None:
        """Returns when the server reports that the model is ready."""
        request = protocol.ModelReadyRequest(name=self._served.model, version=self._served.label)
        self.call(self._stub.ModelReady, request, self._check_ready)

    def metadata(self) -> ModelMetadata:
        """The server's description of the model."""
        request = protocol.ModelMetadataRequest(name=self._served.model, version=self._served.label)
        answer = self.call(self._stub.ModelMetadata, request)
        inputs, outputs = (
            {one.name: tensor_spec(one.name, one.datatype, list(one.shape), self.address) for one in tensors}
            for tensors in (answer.inputs, answer.outputs)
        )
        return ModelMetadata(inputs, outputs)

    def infer(self, inputs: Mapping[str, Array], outputs: tuple[str, ...]) -> Inference:
        """Calls ModelInfer."""
        request = self._request(inputs, outputs)
        name = "inference.GRPCInferenceService/ModelInfer"
        answer = self.call(self._stub.ModelInfer, request, transient_text=NOT_READY, name=name)
        try:
            return Inference(answer_outputs(answer), answer.model_version)
        except (TypeError, ValueError, OverflowError) as error:
            text = error_text(error, SERVER_TEXT_LIMIT)
            raise ScoringError(f"{self.address}: the answer cannot be read: {text}") from error

    def _request(self, inputs: Mapping[str, Array], outputs: tuple[str, ...]) -> Any:
        request = protocol.ModelInferRequest(
            model_name=self._served.model, model_version=self._served.label, id=next_id()
        )
        for name, array in inputs.items():
            try:
                request.inputs.add(name=name, datatype=datatype_name(array.dtype), shape=array.shape)
                request.raw_input_contents.append(raw_content(array))
            except TypeError as error:
                raise ScoringError(f"{self.address}: input {name!r} cannot be sent: {error}") from error
        for name in outputs:
            request.outputs.add(name=name)
        return request

    def _check_ready(self, answer: Any) -> None:
        if not answer.ready:
            text = f"{self.address}: the server has no model {self._served.model!r} that is ready"
            raise RemoteCallError(text, status="NOT_READY", transient=True)


def prepare() -> None:
    """Does nothing, because importing this module has already imported gRPC and the protocol's messages."""


def load(source: ModelSource) -> OpenInferenceScorer:
    """Connects to the model's server, waits until it is ready, and requests its metadata.

    Raises:
      ModelLoadError: the location, an option or the metadata are wrong, or the model is not ready within the
        deadline.
    """
    descriptor = source.descriptor
    served = LOCATION.parse(descriptor.model_source_location)
    reader = OptionReader(descriptor.options)
    remote = RemoteOptions.read(reader, secure=served.secure)
    settings = read_channel_settings(reader, served, remote)
    options = OpenInferenceOptions.read(reader)
    reader.refuse_others()
    client = InferenceClient(str(descriptor.model_source_location), served, remote, settings)
    with closed_on_failure(client):
        return open_scorer(descriptor, client, remote, options)


def answer_outputs(answer: Any) -> dict[str, Array]:
    """The outputs of a ModelInferResponse by name.

    Raises:
      TypeError, ValueError, OverflowError: the message contradicts itself.
    """
    raw = answer.raw_output_contents
    if not raw:
        return {one.name: _typed_array(one) for one in answer.outputs}
    if len(raw) != len(answer.outputs):
        raise ValueError(f"there are {len(answer.outputs)} outputs, but {len(raw)} raw contents")
    pairs = zip(answer.outputs, raw, strict=True)
    return {one.name: raw_array(content, datatype_dtype(one.datatype), one.shape) for one, content in pairs}


def _typed_array(output: Any) -> Array:
    dtype = datatype_dtype(output.datatype)
    if output.datatype not in _FIELDS:
        raise ValueError(f"output {output.name!r} of type {output.datatype} is not in binary form")
    values = getattr(output.contents, _FIELDS[output.datatype])
    if dtype.kind == "O":
        return object_array(list(values), output.shape)
    return shaped(np.array(values, dtype), output.shape)
