"""modelType `tensorflow-serving-rest`: a model in TensorFlow Serving, called over REST.

The location is `http://HOST[:PORT][,HOST[:PORT]...]/v1/models/MODEL[/versions/V|/labels/L]`, or `https://` for TLS;
an ingress may add a path before /v1, and a trailing `:predict` is accepted. Several addresses are called in turn. An
address that fails is skipped for a while, and the call goes to the next one.

Options, in addition to those of `models.scorers.remote`:

=================  ==========  ==============================================================================
option             default     meaning
=================  ==========  ==============================================================================
`format`           columnar    `columnar` (one list for each input) or `row` (one value or object for each row)
`connections`      16          connections kept open to each address; up to as many concurrent calls can reuse
                               a connection
`tls.insecure`     no          `yes`: accept any certificate
=================  ==========  ==============================================================================

The REST answers of TensorFlow Serving contain no version, so `Scores.model_version` is the version in the location.
"""

from __future__ import annotations

import base64
import itertools
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import numpy as np
import urllib3
from urllib3.exceptions import HTTPError, SSLError

from models.errors import ModelLoadError, ScorerOptionError, ScoringError
from models.scorers.base import ModelSource, Scores
from models.scorers.remote import (
    Address,
    LocationForm,
    OptionReader,
    RemoteCallError,
    RemoteOptions,
    RemoteScorer,
    Retries,
    ServedModel,
    check_rows,
    choose_signature,
    closed_on_failure,
    row_count,
    tensor_dtype,
    wanted_outputs,
)
from models.tensors import Array, Signature, TensorSpec
from models.text import SERVER_TEXT_LIMIT, clean_text, error_text

IN_PROCESS = False
LOCATION = LocationForm(
    schemes=("http", "https"),
    path=r"(?P<prefix>(?:/[^/?#]+)*?)/v1/models/(?P<model>[^/:?#]+)"
    r"(?:/versions/(?P<version>[0-9]{1,18})|/labels/(?P<label>[^/:?#]+))?(?::predict)?",
    example="http[s]://HOST[:PORT][,HOST[:PORT]...]/v1/models/MODEL[/versions/V|/labels/L]",
    ports={"http": 80, "https": 443},
)

_TRANSIENT = frozenset({429, 502, 503, 504})

# A connection attempt to a machine that is gone ends after this time, which leaves enough of the deadline for the next
# address.
_CONNECT_SECONDS = 1.0

_LEFT_OUT_SECONDS = 2.0


class AddressRing:
    """Returns addresses in turn, without those that failed recently, unless all of them did.

    It is thread-safe without a lock, because each change is one atomic operation of the interpreter.
    """

    def __init__(self, addresses: Sequence[Address]) -> None:
        self._addresses = tuple(addresses)
        self._turn = itertools.count()
        self._left_out_until: dict[Address, float] = {}

    def next(self) -> Address:
        """The address to call now."""
        now = time.monotonic()
        usable = [address for address in self._addresses if self._left_out_until.get(address, 0.0) <= now]
        candidates = usable or self._addresses
        return candidates[next(self._turn) % len(candidates)]

    def failed(self, address: Address) -> None:
        """Skips the address for some seconds."""
        self._left_out_until[address] = time.monotonic() + _LEFT_OUT_SECONDS

    def answered(self, address: Address) -> None:
        """Stops skipping the address."""
        self._left_out_until.pop(address, None)


class RestClient:
    """Calls one model on a list of addresses, with headers, connections, deadline and retries. Thread-safe."""

    def __init__(self, served: ServedModel, options: RemoteOptions, *, connections: int, insecure: bool) -> None:
        self._served = served
        self._scheme = "https" if served.secure else "http"
        self._path = _path(served)
        self._ring = AddressRing(served.addresses)
        self._retries = Retries(options, len(served.addresses))
        self._headers = {"content-type": "application/json", **options.headers}
        if options.authority is not None:
            self._headers["host"] = options.authority
        tls = _tls_arguments(options, insecure=insecure) if served.secure else {}
        self._pools = urllib3.PoolManager(num_pools=len(served.addresses), maxsize=connections, **tls)

    def call(self, method: str, suffix: str, body: bytes | None = None) -> Any:
        """Calls the model's path plus `suffix` and returns the JSON value of the answer.

        Raises:
          RemoteCallError: when no attempt succeeded within the deadline; with the address, the HTTP status and the
            server's text.
          ScoringError: when the answer is not JSON.
        """
        return self._retries.call(lambda timeout: self._attempt(method, suffix, body, timeout))

    def close(self) -> None:
        """Closes the connections."""
        self._pools.clear()

    def _attempt(self, method: str, suffix: str, body: bytes | None, timeout: float) -> Any:
        address = self._ring.next()
        url = f"{self._scheme}://{address}{self._path}{suffix}"
        limits = urllib3.Timeout(connect=min(timeout, _CONNECT_SECONDS), total=timeout)
        try:
            response = self._pools.request(
                method, url, body=body, headers=self._headers, timeout=limits, retries=False, redirect=False
            )
        except HTTPError as error:
            self._ring.failed(address)
            transient = not isinstance(error, SSLError)
            text = clean_text(str(error), SERVER_TEXT_LIMIT)
            raise RemoteCallError(f"{url}: {text}", status="", transient=transient) from error
        transient = response.status in _TRANSIENT
        if transient:
            self._ring.failed(address)
        else:
            self._ring.answered(address)
        if response.status != 200:
            reason = clean_text(_error_text(response.data) or response.reason or "", SERVER_TEXT_LIMIT)
            text = f"{url}: {response.status}: {reason}"
            raise RemoteCallError(text, status=str(response.status), transient=transient)
        return _json_value(response.data, url)


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
        version: int | None,
        row_format: bool,
    ) -> None:
        super().__init__(address, client, signature, outputs, batch_deadline)
        self._version = version
        self._row_format = row_format

    def score(self, inputs: Mapping[str, Array]) -> Scores:
        """Scores rows; see `models.scorers.base.Scorer.score`.

        Raises:
          RemoteCallError: with the address, the HTTP status and the server's text.
          ScoringError: when an input cannot be written as JSON, or the answer cannot be decoded.
        """
        rows = row_count(inputs)
        # JSON cannot express the shape of an array without rows, and the server rejects an empty list of instances.
        outputs = self._predict(inputs) if rows else self._no_rows()
        wanted = {name: outputs[name] for name in self._outputs or outputs}
        check_rows(wanted, rows, self._address)
        return Scores(wanted, self._version)

    def _predict(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        try:
            content = row_request(inputs) if self._row_format else columnar_request(inputs)
            body = json.dumps({"signature_name": self._signature.name, **content}).encode()
        except (TypeError, ValueError) as error:
            raise ScoringError(f"{self._address}: the inputs cannot be written as JSON: {error}") from error
        answer = self._client.call("POST", ":predict", body)
        try:
            specs = self._signature.outputs
            return row_outputs(answer, specs) if self._row_format else columnar_outputs(answer, specs)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            text = error_text(error, SERVER_TEXT_LIMIT)
            raise ScoringError(f"{self._address}: the answer does not follow the signature: {text}") from error

    def _no_rows(self) -> dict[str, Array]:
        return {
            name: np.empty((0, *(size or 0 for size in (spec.shape or ())[1:])), spec.dtype)
            for name, spec in self._signature.outputs.items()
        }


def prepare() -> None:
    """Does nothing, because importing this module has already imported the HTTP client."""


def load(source: ModelSource) -> TensorFlowServingRestScorer:
    """Requests the signature from the model's server.

    Raises:
      ModelLoadError: when the location, an option or the signature is wrong, or the server does not answer within
        the deadline.
    """
    descriptor = source.descriptor
    served = LOCATION.parse(descriptor.model_source_location)
    location = str(descriptor.model_source_location)
    reader = OptionReader(descriptor.options)
    options = RemoteOptions.read(reader, secure=served.secure)
    row_format = reader.choice("format", ("columnar", "row")) == "row"
    connections = reader.count("connections", 16)
    insecure = reader.choice("tls.insecure", ("no", "yes")) == "yes"
    reader.refuse_others()
    if insecure and not served.secure:
        raise ScorerOptionError("option tls.insecure: the location does not use TLS")
    client = RestClient(served, options, connections=connections, insecure=insecure)
    with closed_on_failure(client):
        definitions = _signature_definitions(client.call("GET", "/metadata"), location)
        name = choose_signature(definitions, descriptor.signature, location)
        signature = _signature(name, definitions[name], location)
        outputs = wanted_outputs(descriptor, signature.outputs, location)
        return TensorFlowServingRestScorer(
            location,
            client,
            signature,
            outputs=outputs,
            batch_deadline=options.batch_deadline,
            version=served.version,
            row_format=row_format,
        )


def columnar_request(inputs: Mapping[str, Array]) -> dict[str, Any]:
    """The inputs in TensorFlow Serving's columnar format: an object with the values of each input.

    Raises:
      TypeError: when an object is not bytes.

    >>> columnar_request({"a": np.array([1, 2]), "b": np.array([3, 4])})
    {'inputs': {'a': [1, 2], 'b': [3, 4]}}
    """
    return {"inputs": {name: _json_list(array) for name, array in inputs.items()}}


def row_request(inputs: Mapping[str, Array]) -> dict[str, Any]:
    """The inputs in TensorFlow Serving's row format: plain values for a single input, objects for several.

    Raises:
      TypeError: when an object is not bytes.
      ValueError: when the inputs have different numbers of rows.

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
      KeyError, TypeError, ValueError, OverflowError: when the answer does not follow the signature.
    """
    values = answer["outputs"]
    if len(specs) == 1:
        values = dict.fromkeys(specs, values)
    return {name: _array(values[name], spec) for name, spec in specs.items()}


def row_outputs(answer: Any, specs: Mapping[str, TensorSpec]) -> dict[str, Array]:
    """The outputs of an answer in row format: plain values for a single output, objects for several.

    Raises:
      KeyError, TypeError, ValueError, OverflowError: when the answer does not follow the signature.
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


def _tls_arguments(options: RemoteOptions, *, insecure: bool) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "cert_reqs": "CERT_NONE" if insecure else "CERT_REQUIRED",
        "ca_certs": options.certificate_authorities and str(options.certificate_authorities),
        "cert_file": options.certificate and str(options.certificate),
        "key_file": options.key and str(options.key),
    }
    if options.authority is not None:
        name = urllib3.util.parse_url(f"https://{options.authority}").host
        arguments["server_hostname"] = name
        # Setting a name here would enable the host name check again, which `tls.insecure` disables.
        arguments["assert_hostname"] = False if insecure else name
    return arguments


def _json_value(content: bytes, url: str) -> Any:
    try:
        return json.loads(content.decode("utf-8", "surrogateescape"))
    except ValueError as error:
        raise ScoringError(f"{url}: the answer is not JSON: {error}") from error


def _error_text(content: bytes) -> str:
    text = content.decode("utf-8", "replace").strip()
    try:
        value = json.loads(text)
    except ValueError:
        return text  # from something in front of the server, such as a proxy
    return str(value["error"]) if isinstance(value, dict) and "error" in value else text


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
