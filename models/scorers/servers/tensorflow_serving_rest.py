"""modelType `tensorflow-serving-rest`: a model in TensorFlow Serving, called over REST.

The location is `http://HOST[:PORT][,HOST[:PORT]...]/v1/models/MODEL[/versions/V|/labels/L]`, or `https://` for TLS;
an ingress may add a path before /v1, and a trailing `:predict` is accepted.

Options, in addition to those of `models.scorers.servers.remote_options` and `models.scorers.servers.rest_client`:

=================  ==========  ==============================================================================
option             default     meaning
=================  ==========  ==============================================================================
`format`           columnar    `columnar` (one list for each input) or `row` (one value or object for each row)
=================  ==========  ==============================================================================

The REST answers of TensorFlow Serving contain no version, so `Scores.model_version` is the version in the location.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import numpy as np

from models.errors import ModelLoadError, ScoringError
from models.scorers.base import ModelSource, Scores
from models.scorers.option_reader import OptionReader
from models.scorers.servers.remote import (
    RemoteScorer,
    check_rows,
    closed_on_failure,
    no_rows,
    row_count,
    wanted_outputs,
)
from models.scorers.servers.remote_options import RemoteOptions
from models.scorers.servers.rest_client import RestAnswer, RestClient, RestOptions
from models.scorers.servers.served_location import LocationForm, ServedModel
from models.scorers.tensorflow.signatures import choose_signature, tensor_dtype
from models.tensors import Array, Signature, TensorSpec
from models.text import SERVER_TEXT_LIMIT, error_text

IN_PROCESS = False
LOCATION = LocationForm(
    schemes=("http", "https"),
    path=r"(?P<prefix>(?:/[^/?#]+)*?)/v1/models/(?P<model>[^/:?#]+)"
    r"(?:/versions/(?P<version>[0-9]{1,18})|/labels/(?P<label>[^/:?#]+))?(?::predict)?",
    example="http[s]://HOST[:PORT][,HOST[:PORT]...]/v1/models/MODEL[/versions/V|/labels/L]",
    ports={"http": 80, "https": 443},
)


class TensorFlowServingRestScorer(RemoteScorer[RestClient]):
    """A model in TensorFlow Serving over REST; see `models.scorers.base.Scorer`."""

    def __init__(
        self,
        address: str,
        client: RestClient,
        signature: Signature,
        *,
        outputs: tuple[str, ...],
        batch_deadline: float,
        served: ServedModel,
        row_format: bool,
    ) -> None:
        super().__init__(address, client, signature, outputs, batch_deadline)
        self._version = served.version
        self._path = f"{_path(served)}:predict"
        self._row_format = row_format

    def score(self, inputs: Mapping[str, Array]) -> Scores:
        """Scores rows; see `models.scorers.base.Scorer.score`.

        Raises:
          RemoteCallError: the call fails; the message has the address, the HTTP status and the server's text.
          ScoringError: an input cannot be written as JSON, or the answer cannot be decoded.
        """
        rows = row_count(inputs)
        # JSON cannot express the shape of an array without rows, and the server rejects an empty list of instances.
        outputs = self._predict(inputs) if rows else no_rows(self._signature.outputs)
        wanted = {name: outputs[name] for name in self._outputs or outputs}
        check_rows(wanted, rows, self._address)
        return Scores(wanted, self._version)

    def _predict(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        try:
            content = row_request(inputs) if self._row_format else columnar_request(inputs)
            body = json.dumps({"signature_name": self._signature.name, **content}).encode()
        except (TypeError, ValueError) as error:
            raise ScoringError(f"{self._address}: the inputs cannot be written as JSON: {error}") from error
        answer = _json_value(self._client.call("POST", self._path, body))
        try:
            specs = self._signature.outputs
            return row_outputs(answer, specs) if self._row_format else columnar_outputs(answer, specs)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            text = error_text(error, SERVER_TEXT_LIMIT)
            raise ScoringError(f"{self._address}: the answer does not follow the signature: {text}") from error


def prepare() -> None:
    """Does nothing, because importing this module has already imported the HTTP client."""


def load(source: ModelSource) -> TensorFlowServingRestScorer:
    """Requests the signature from the model's server.

    Raises:
      ModelLoadError: the location, an option or the signature is wrong, or the server does not answer within
        the deadline.
    """
    descriptor = source.descriptor
    served = LOCATION.parse(descriptor.model_source_location)
    location = str(descriptor.model_source_location)
    reader = OptionReader(descriptor.options)
    options = RemoteOptions.read(reader, secure=served.secure)
    row_format = reader.choice("format", ("columnar", "row")) == "row"
    rest = RestOptions.read(reader, secure=served.secure)
    reader.refuse_others()
    client = RestClient(served, options, rest)
    with closed_on_failure(client):
        definitions = _signature_definitions(_json_value(client.call("GET", f"{_path(served)}/metadata")), location)
        name = choose_signature(definitions, descriptor.signature, location)
        signature = _signature(name, definitions[name], location)
        outputs = wanted_outputs(descriptor, signature.outputs, location)
        return TensorFlowServingRestScorer(
            location,
            client,
            signature,
            outputs=outputs,
            batch_deadline=options.batch_deadline,
            served=served,
            row_format=row_format,
        )


def columnar_request(inputs: Mapping[str, Array]) -> dict[str, Any]:
    """The inputs in TensorFlow Serving's columnar format: an object with the values of each input.

    Raises:
      TypeError: an object is not bytes.

    >>> columnar_request({"a": np.array([1, 2]), "b": np.array([3, 4])})
    {'inputs': {'a': [1, 2], 'b': [3, 4]}}
    """
    return {"inputs": {name: _json_list(array) for name, array in inputs.items()}}


def row_request(inputs: Mapping[str, Array]) -> dict[str, Any]:
    """The inputs in TensorFlow Serving's row format: plain values for a single input, objects for several.

    Raises:
      TypeError: an object is not bytes.
      ValueError: the inputs have different numbers of rows.

    >>> row_request({"a": np.array([1, 2]), "b": np.array([3, 4])})
    {'instances': [{'a': 1, 'b': 3}, {'a': 2, 'b': 4}]}
    >>> row_request({"a": np.array([1, 2])})
    {'instances': [1, 2]}
    """
    columns = [_json_list(array) for array in inputs.values()]
    if len(columns) == 1:
        return {"instances": columns[0]}
    return {"instances": [dict(zip(inputs, row, strict=True)) for row in zip(*columns, strict=True)]}


def columnar_outputs(answer: Any, specs: Mapping[str, TensorSpec]) -> dict[str, Array]:
    """The outputs of a columnar answer, in which a single output has no name.

    Raises:
      KeyError, TypeError, ValueError, OverflowError: the answer does not follow the signature.
    """
    values = answer["outputs"]
    if len(specs) == 1:
        values = dict.fromkeys(specs, values)
    return {name: _array(values[name], spec) for name, spec in specs.items()}


def row_outputs(answer: Any, specs: Mapping[str, TensorSpec]) -> dict[str, Array]:
    """The outputs of an answer in row format: plain values for a single output, objects for several.

    Raises:
      KeyError, TypeError, ValueError, OverflowError: the answer does not follow the signature.
    """
    rows = answer["predictions"]
    if len(specs) == 1:
        return {name: _array(rows, spec) for name, spec in specs.items()}
    return {name: _array([row[name] for row in rows], spec) for name, spec in specs.items()}


def _json_list(array: Array) -> Any:
    if array.dtype != object:
        return array.tolist()
    encoded = np.empty(array.size, object)
    # Bytes need not be valid UTF-8, so they are always sent in TensorFlow Serving's base64 form.
    encoded[:] = [{"b64": base64.b64encode(value).decode()} for value in array.ravel().tolist()]
    return encoded.reshape(array.shape).tolist()


def _array(value: Any, spec: TensorSpec) -> Array:
    return _bytes_array(value) if spec.dtype == object else np.array(value, spec.dtype)


def _bytes_array(value: Any) -> Array:
    shape: list[int] = []
    probe = value
    while isinstance(probe, list):
        shape.append(len(probe))
        probe = probe[0] if probe else None
    flat = value if shape else [value]
    for _ in shape[1:]:
        flat = [inner for outer in flat for inner in outer]
    array = np.empty(len(flat), object)
    array[:] = [_bytes(item) for item in flat]
    return array.reshape(shape)


def _bytes(value: Any) -> bytes:
    # TensorFlow Serving sends an output named *_bytes as base64, and any other as text that may not be valid UTF-8.
    if isinstance(value, dict):
        return base64.b64decode(value["b64"], validate=True)
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a string")
    return value.encode("utf-8", "surrogateescape")


def _path(served: ServedModel) -> str:
    path = f"{served.prefix}/v1/models/{quote(served.model, safe='')}"
    if served.version is not None:
        return f"{path}/versions/{served.version}"
    return path if served.label is None else f"{path}/labels/{quote(served.label, safe='')}"


def _json_value(answer: RestAnswer) -> Any:
    try:
        return json.loads(answer.content.decode("utf-8", "surrogateescape"))
    except ValueError as error:
        raise ScoringError(f"{answer.url}: the answer is not JSON: {error}") from error


def _signature_definitions(answer: Any, location: str) -> Mapping[str, Any]:
    try:
        definitions: Mapping[str, Any] = answer["metadata"]["signature_def"]["signature_def"]
        return dict(definitions)
    except (KeyError, TypeError, ValueError) as error:
        raise ModelLoadError(f"{location}: the server's metadata contain no signatures") from error


def _signature(name: str, definition: Any, location: str) -> Signature:
    try:
        inputs, outputs = (
            {key: _tensor_spec(key, info, location) for key, info in sorted(definition.get(part, {}).items())}
            for part in ("inputs", "outputs")
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ModelLoadError(f"{location}: the server's metadata of signature {name!r} cannot be read") from error
    return Signature(name, inputs, outputs)


def _tensor_spec(name: str, info: Mapping[str, Any], location: str) -> TensorSpec:
    dtype = tensor_dtype(info["dtype"], name, location)
    shape = info.get("tensor_shape", {})
    if shape.get("unknown_rank"):
        return TensorSpec(name, dtype, None)
    sizes = [int(dim.get("size", 0)) for dim in shape.get("dim", [])]
    return TensorSpec(name, dtype, tuple(None if size < 0 else size for size in sizes))
