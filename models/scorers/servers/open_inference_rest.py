"""modelType `open-inference-rest`: a model on a server of the Open Inference protocol (V2), called over REST.

The location is `http://HOST[:PORT][,HOST[:PORT]...]/v2/models/MODEL[/versions/V]`, or `https://` for TLS; an ingress
may add a path before /v2, and a trailing `/infer` is accepted.

The options are those of `models.scorers.servers.remote_options`, `models.scorers.servers.rest_client` and
`models.scorers.servers.open_inference`.

Tensors are sent and received in binary form if the server lists the extension `binary_tensor_data`, and as JSON
otherwise. JSON has no NaN and no infinity, and its strings must be UTF-8.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from models.errors import ModelLoadError, ScoringError
from models.scorers.base import ModelSource
from models.scorers.option_reader import OptionReader
from models.scorers.servers.open_inference import (
    NOT_READY,
    Inference,
    ModelMetadata,
    OpenInferenceOptions,
    OpenInferenceScorer,
    next_id,
    open_scorer,
)
from models.scorers.servers.open_inference_json import (
    HEADER_LENGTH,
    InferenceBody,
    inference_answer,
    inference_body,
    json_object,
    metadata_tensors,
)
from models.scorers.servers.remote import closed_on_failure
from models.scorers.servers.remote_calls import RemoteCallError
from models.scorers.servers.remote_options import RemoteOptions
from models.scorers.servers.rest_client import TRANSIENT, RestClient, RestOptions
from models.scorers.servers.served_location import LocationForm, ServedModel
from models.tensors import Array
from models.text import SERVER_TEXT_LIMIT, error_text

IN_PROCESS = False
LOCATION = LocationForm(
    schemes=("http", "https"),
    path=r"(?P<prefix>(?:/[^/?#]+)*?)/v2/models/(?P<model>[^/:?#]+)(?:/versions/(?P<label>[^/:?#]+))?(?:/infer)?",
    example="http[s]://HOST[:PORT][,HOST[:PORT]...]/v2/models/MODEL[/versions/V]",
    ports={"http": 80, "https": 443},
)

# Triton and MLServer answer with 400 while a model is not ready.
_NOT_READY = TRANSIENT | {400}

_BINARY_EXTENSION = "binary_tensor_data"


class InferenceClient:
    """Calls one model; see `models.scorers.servers.open_inference.OpenInferenceClient`."""

    def __init__(self, address: str, served: ServedModel, client: RestClient) -> None:
        self._address = address
        self._client = client
        self._root = f"{served.prefix}/v2"
        version = "" if served.label is None else f"/versions/{quote(served.label, safe='')}"
        self._path = f"{self._root}/models/{quote(served.model, safe='')}{version}"
        self._binary = False

    def wait_until_ready(self) -> None:
        """Returns when the server reports that the model is ready, and finds out whether it supports binary tensors."""
        self._client.call("GET", f"{self._path}/ready", transient=_NOT_READY)
        self._binary = self._has_binary_tensors()

    def metadata(self) -> ModelMetadata:
        """The server's description of the model."""
        answer = self._client.call("GET", self._path)
        try:
            described = json_object(answer.content)
            inputs, outputs = (metadata_tensors(described, part, self._address) for part in ("inputs", "outputs"))
        except (KeyError, TypeError, ValueError) as error:
            text = error_text(error, SERVER_TEXT_LIMIT)
            raise ModelLoadError(f"{answer.url}: the server's metadata cannot be read: {text}") from error
        return ModelMetadata(inputs, outputs)

    def infer(self, inputs: Mapping[str, Array], outputs: tuple[str, ...]) -> Inference:
        """Calls infer."""
        body = self._body(inputs, outputs)
        answer = self._client.call("POST", f"{self._path}/infer", body.content, body.headers, transient_text=NOT_READY)
        try:
            return inference_answer(answer.content, answer.headers.get(HEADER_LENGTH))
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            text = error_text(error, SERVER_TEXT_LIMIT)
            raise ScoringError(f"{self._address}: the answer cannot be read: {text}") from error

    def close(self) -> None:
        """Closes the connections."""
        self._client.close()

    def _body(self, inputs: Mapping[str, Array], outputs: tuple[str, ...]) -> InferenceBody:
        try:
            return inference_body(inputs, outputs, next_id(), binary=self._binary)
        except (TypeError, ValueError) as error:
            raise ScoringError(f"{self._address}: the inputs cannot be sent: {error}") from error

    def _has_binary_tensors(self) -> bool:
        try:
            extensions = json_object(self._client.call("GET", self._root).content).get("extensions")
        except (RemoteCallError, ValueError):
            return False  # an ingress may forward only requests to models
        return isinstance(extensions, list) and _BINARY_EXTENSION in extensions


def prepare() -> None:
    """Does nothing, because importing this module has already imported the HTTP client."""


def load(source: ModelSource) -> OpenInferenceScorer:
    """Waits until the model is ready on its server, and requests its metadata.

    Raises:
      ModelLoadError: the location, an option or the metadata are wrong, or the model is not ready within the
        deadline.
    """
    descriptor = source.descriptor
    served = LOCATION.parse(descriptor.model_source_location)
    reader = OptionReader(descriptor.options)
    remote = RemoteOptions.read(reader, secure=served.secure)
    rest = RestOptions.read(reader, secure=served.secure)
    options = OpenInferenceOptions.read(reader)
    reader.refuse_others()
    client = InferenceClient(str(descriptor.model_source_location), served, RestClient(served, remote, rest))
    with closed_on_failure(client):
        return open_scorer(descriptor, client, remote, options)
