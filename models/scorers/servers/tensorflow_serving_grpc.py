"""modelType `tensorflow-serving-grpc`: a model in TensorFlow Serving, called over gRPC.

The location is `grpc://HOST:PORT[,HOST:PORT...]/MODEL[/versions/V|/labels/L]`, or `grpcs://` for TLS. A load-balancing
proxy is one address; the option `authority` names the host that it routes by.

Options, in addition to those of `models.scorers.servers.remote_options` and `models.scorers.servers.grpc_channels`:

=================  =======  =================================================================================
option             default  meaning
=================  =======  =================================================================================
`dtype.INPUT`      float32  type of an input, for a server that does not answer GetModelMetadata: float32,
                            float64, int32, int64, bool or string
=================  =======  =================================================================================

If a server or proxy does not support GetModelMetadata, the inputs are those that the descriptor maps and those of the
options `dtype.INPUT`. Only the outputs that the descriptor selects are requested.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import grpc
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2, prediction_service_pb2_grpc

from models.errors import ModelLoadError, ScoringError
from models.scorers.base import ModelSource, Scores
from models.scorers.option_reader import OptionReader
from models.scorers.servers.assumed_signature import assumed_signature, read_dtypes
from models.scorers.servers.grpc_channels import ChannelSettings, GrpcClient, read_channel_settings
from models.scorers.servers.remote import RemoteScorer, check_rows, closed_on_failure, row_count, wanted_outputs
from models.scorers.servers.remote_calls import RemoteCallError
from models.scorers.servers.remote_options import RemoteOptions
from models.scorers.servers.served_location import LocationForm, ServedModel
from models.scorers.tensorflow.signatures import DEFAULT_SIGNATURE, choose_signature, tensor_dtype
from models.tensor_protos import fill_tensor, tensor_array
from models.tensors import Array, Signature, TensorSpec
from models.text import error_text

IN_PROCESS = False
LOCATION = LocationForm(
    schemes=("grpc", "grpcs"),
    path=r"/(?P<model>[^/:?#]+)(?:/versions/(?P<version>[0-9]{1,18})|/labels/(?P<label>[^/:?#]+))?",
    example="grpc[s]://HOST:PORT[,HOST:PORT...]/MODEL[/versions/V|/labels/L]",
)

_INPUT_DTYPES = ("float32", "float64", "int32", "int64", "bool", "string")


class PredictionClient(GrpcClient):
    """Calls one model on one target; see `models.scorers.servers.grpc_channels.GrpcClient`."""

    def __init__(self, address: str, served: ServedModel, options: RemoteOptions, settings: ChannelSettings) -> None:
        super().__init__(address, options, settings)
        self._served = served
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(self.channel)

    def model_spec(self, signature: str | None = None) -> Any:
        """The part of a request that names the model, its version or label, and the signature."""
        spec = predict_pb2.PredictRequest().model_spec
        spec.name = self._served.model
        if self._served.version is not None:
            spec.version.value = self._served.version
        if self._served.label is not None:
            spec.version_label = self._served.label
        if signature is not None:
            spec.signature_name = signature
        return spec

    def predict(self, request: Any) -> Any:
        """Calls Predict.

        Raises:
          RemoteCallError: no attempt succeeded within the deadline.
        """
        return self.call(self._stub.Predict, request, name="tensorflow.serving.PredictionService/Predict")

    def signature_definitions(self) -> Mapping[str, Any] | None:
        """The model's signatures by name; None when the server does not support GetModelMetadata.

        Raises:
          RemoteCallError: the call fails for another reason.
          ModelLoadError: the answer contains no signatures.
        """
        request = get_model_metadata_pb2.GetModelMetadataRequest(
            model_spec=self.model_spec(), metadata_field=["signature_def"]
        )
        try:
            response = self.call(self._stub.GetModelMetadata, request)
        except RemoteCallError as error:
            if error.status == grpc.StatusCode.UNIMPLEMENTED.name:
                return None
            raise
        definitions = get_model_metadata_pb2.SignatureDefMap()
        if not response.metadata["signature_def"].Unpack(definitions):
            raise ModelLoadError(f"{self.address}: the server's metadata contain no signatures")
        signatures: Mapping[str, Any] = definitions.signature_def
        return signatures


class TensorFlowServingGrpcScorer(RemoteScorer[PredictionClient]):
    """A model in TensorFlow Serving over gRPC; see `models.scorers.base.Scorer`.

    Output arrays of numbers are read-only, because they are views of the received message. Calls from several threads
    share one channel and run concurrently.
    """

    def score(self, inputs: Mapping[str, Array]) -> Scores:
        """Scores rows; see `models.scorers.base.Scorer.score`.

        Raises:
          RemoteCallError: the call fails; the message has the address, the name of the gRPC status and the server's
            text.
          ScoringError: an input cannot be encoded, or the answer cannot be decoded.
        """
        request = predict_pb2.PredictRequest(model_spec=self._client.model_spec(self._signature.name))
        request.output_filter.extend(self._outputs)
        for name, array in inputs.items():
            self._fill(request.inputs[name], name, array)
        response = self._client.predict(request)
        outputs = {name: self._array(name, tensor) for name, tensor in response.outputs.items()}
        check_rows(outputs, row_count(inputs), self._address)
        spec = response.model_spec
        return Scores(outputs, spec.version.value if spec.HasField("version") else None)

    def _fill(self, tensor: Any, name: str, array: Array) -> None:
        try:
            fill_tensor(tensor, array)
        except (KeyError, TypeError, ValueError) as error:
            raise ScoringError(f"{self._address}: input {name!r} ({array.dtype}) cannot be sent: {error}") from error

    def _array(self, name: str, tensor: Any) -> Array:
        try:
            return tensor_array(tensor)
        except (KeyError, TypeError, ValueError) as error:
            raise ScoringError(f"{self._address}: output {name!r} cannot be read: {error_text(error)}") from error


def prepare() -> None:
    """Does nothing, because importing this module has already imported gRPC and TensorFlow's messages."""


def load(source: ModelSource) -> TensorFlowServingGrpcScorer:
    """Connects to the model's server and requests the signature.

    Raises:
      ModelLoadError: the location, an option or the signature is wrong, or the server does not answer within
        the deadline.
    """
    descriptor = source.descriptor
    served = LOCATION.parse(descriptor.model_source_location)
    location = str(descriptor.model_source_location)
    reader = OptionReader(descriptor.options)
    options = RemoteOptions.read(reader, secure=served.secure)
    settings = read_channel_settings(reader, served, options)
    dtypes = read_dtypes(reader, _INPUT_DTYPES)
    reader.refuse_others()
    client = PredictionClient(location, served, options, settings)
    with closed_on_failure(client):
        definitions = client.signature_definitions()
        if definitions is None:
            signature = assumed_signature(
                descriptor, dtypes, DEFAULT_SIGNATURE, "the server does not answer GetModelMetadata"
            )
        else:
            name = choose_signature(definitions, descriptor.signature, location)
            signature = _signature(name, definitions[name], location)
        outputs = wanted_outputs(descriptor, signature.outputs, location)
        return TensorFlowServingGrpcScorer(location, client, signature, outputs, options.batch_deadline)


def _signature(name: str, definition: Any, location: str) -> Signature:
    return Signature(
        name,
        {key: _tensor_spec(key, info, location) for key, info in sorted(definition.inputs.items())},
        {key: _tensor_spec(key, info, location) for key, info in sorted(definition.outputs.items())},
    )


def _tensor_spec(name: str, info: Any, location: str) -> TensorSpec:
    dtype = tensor_dtype(types_pb2.DataType.Name(info.dtype), name, location)
    if info.tensor_shape.unknown_rank:
        return TensorSpec(name, dtype, None)
    return TensorSpec(name, dtype, tuple(None if dim.size < 0 else dim.size for dim in info.tensor_shape.dim))
