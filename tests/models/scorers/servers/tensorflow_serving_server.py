"""TensorFlow Serving's protocol, gRPC and REST, over real SavedModels: `tensorflow_model_server` for tests.

    python tests/models/scorers/servers/tensorflow_serving_server.py --grpc-port P --rest-port P
        --model NAME=PATH[:VERSION] ... [--label NAME:LABEL=VERSION ...] [--delay-ms N] [--without-metadata]
        [--max-message-mib N] [--grpc-tls-port P --rest-tls-port P --tls-certificate FILE --tls-key FILE]

It prints `ready` when all its ports respond. For tests it has features that the real server lacks: every response names
the port of the REST interface in the header `served-by`, and under /test on that port

- `GET /test/calls` lists the calls so far: protocol, method, authority, headers, the number of calls in flight, and for
  Predict the requested outputs;
- `POST /test/behaviour` with `{"delay_ms": N, "failures": ["UNAVAILABLE", ...]}` makes Predict slow, and makes its next
  calls fail.
"""

from __future__ import annotations

import argparse
import base64
import json
import re
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from ssl import PROTOCOL_TLS_SERVER, SSLContext
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf import json_format  # type: ignore[import-untyped, unused-ignore]
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import get_model_metadata_pb2, model_pb2, predict_pb2, prediction_service_pb2_grpc

DEFAULT_SIGNATURE = "serving_default"

# The HTTP status of each gRPC status, as TensorFlow Serving maps them.
HTTP_STATUS = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 412,
    "NOT_FOUND": 404,
    "RESOURCE_EXHAUSTED": 429,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}

# By default the real server sends numbers one by one, in the field of their type.
VALUE_FIELDS = {
    "DT_FLOAT": "float_val",
    "DT_DOUBLE": "double_val",
    "DT_INT32": "int_val",
    "DT_INT64": "int64_val",
    "DT_BOOL": "bool_val",
}


class ServingStatusError(Exception):
    """A call fails with this gRPC status."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


@dataclass
class LoadedModel:
    """One version of a model: its signatures, both as stored in the file and as callables."""

    definitions: Mapping[str, Any]
    signatures: Mapping[str, Any]


@dataclass
class Behaviour:
    """Settings that tests change while the server runs, and facts that they query."""

    delay_ms: int = 0
    failures: list[str] = field(default_factory=list)
    calls: list[dict[str, Any]] = field(default_factory=list)
    in_flight: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def call(self, **what: Any) -> Iterator[None]:
        """Records a call of Predict, and delays it or makes it fail according to the settings."""
        with self.lock:
            self.in_flight += 1
            self.calls.append({**what, "in_flight": self.in_flight})
            failure = self.failures.pop(0) if self.failures else None
        try:
            time.sleep(self.delay_ms / 1000)
            if failure:
                raise ServingStatusError(failure, f"made to fail with {failure}")
            yield
        finally:
            with self.lock:
                self.in_flight -= 1


class Models:
    """All models of a server, by name and version, with their labels."""

    def __init__(self, paths: list[str], labels: list[str]) -> None:
        self._models: dict[str, dict[int, LoadedModel]] = {}
        for text in paths:
            name, path = text.split("=", 1)
            match = re.fullmatch(r"(.+):([0-9]+)", path)
            self._models.setdefault(name, {})[int(match[2]) if match else 1] = load_model(match[1] if match else path)
        self._labels: dict[tuple[str, str], int] = {}
        for text in labels:
            name, label, version = re.split("[:=]", text)
            self._labels[name, label] = int(version)

    def find(self, spec: Any) -> tuple[int, LoadedModel]:
        """The version and the model to which a ModelSpec refers."""
        versions = self._models.get(spec.name, {})
        version = max(versions, default=0)
        request = f"Latest({spec.name})"
        if spec.HasField("version"):
            version = spec.version.value
            request = f"Specific({spec.name}, {version})"
        elif spec.version_label:
            if (spec.name, spec.version_label) not in self._labels:
                raise ServingStatusError(
                    "INVALID_ARGUMENT", f"Unrecognized servable version label: {spec.version_label}"
                )
            version = self._labels[spec.name, spec.version_label]
        if version not in versions:
            raise ServingStatusError("NOT_FOUND", f"Servable not found for request: {request}")
        return version, versions[version]

    def metadata(self, spec: Any) -> Any:
        """The response of GetModelMetadata."""
        version, model = self.find(spec)
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.model_spec.name = spec.name
        response.model_spec.version.value = version
        definitions = get_model_metadata_pb2.SignatureDefMap()
        for name, definition in model.definitions.items():
            definitions.signature_def[name].CopyFrom(definition)
        response.metadata["signature_def"].Pack(definitions)
        return response

    def definition(self, spec: Any) -> Any:
        """The signature to which a ModelSpec refers."""
        name = spec.signature_name or DEFAULT_SIGNATURE
        _, model = self.find(spec)
        if name not in model.definitions:
            raise ServingStatusError("FAILED_PRECONDITION", f'Serving signature key "{name}" not found.')
        return model.definitions[name]

    def predict(self, spec: Any, inputs: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
        """The version that scored, and its outputs as arrays."""
        version, model = self.find(spec)
        expected = set(self.definition(spec).inputs)
        if set(inputs) != expected:
            text = (
                f"input size does not match signature: {len(inputs)}!={len(expected)} "
                f"Sent extra: {{{','.join(sorted(set(inputs) - expected))}}}. "
                f"Missing but required: {{{','.join(sorted(expected - set(inputs)))}}}."
            )
            raise ServingStatusError("INVALID_ARGUMENT", text)
        try:
            tensors = {name: tf.constant(array) for name, array in inputs.items()}
            outputs = model.signatures[spec.signature_name or DEFAULT_SIGNATURE](**tensors)
        except (tf.errors.OpError, TypeError, ValueError) as error:
            raise ServingStatusError("INVALID_ARGUMENT", str(error)) from error
        return version, {name: tensor.numpy() for name, tensor in outputs.items()}


@cache
def load_model(path: str) -> LoadedModel:
    message = saved_model_pb2.SavedModel.FromString(Path(path, "saved_model.pb").read_bytes())
    return LoadedModel(dict(message.meta_graphs[0].signature_def), tf.saved_model.load(path).signatures)


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, models: Models, behaviour: Behaviour, served_by: int, *, without_metadata: bool) -> None:
        self._models = models
        self._behaviour = behaviour
        self._served_by = str(served_by)
        self._without_metadata = without_metadata

    def GetModelMetadata(self, request: Any, context: Any) -> Any:
        if self._without_metadata:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, "Method not found!")
        with self._answer(context):
            return self._models.metadata(request.model_spec)

    def Predict(self, request: Any, context: Any) -> Any:
        with self._answer(context), self._behaviour.call(**_grpc_call(request, context)):
            inputs = {name: tf.make_ndarray(tensor) for name, tensor in request.inputs.items()}
            version, outputs = self._models.predict(request.model_spec, inputs)
            response = predict_pb2.PredictResponse()
            response.model_spec.name = request.model_spec.name
            response.model_spec.signature_name = request.model_spec.signature_name
            response.model_spec.version.value = version
            for name in request.output_filter or outputs:
                _fill(response.outputs[name], outputs[name])
            return response

    @contextmanager
    def _answer(self, context: Any) -> Iterator[None]:
        context.send_initial_metadata((("served-by", self._served_by),))
        try:
            yield
        except ServingStatusError as error:
            context.abort(grpc.StatusCode[error.code], error.text)


def _grpc_call(request: Any, context: Any) -> dict[str, Any]:
    return {
        "protocol": "grpc",
        # grpc's public interface does not expose the requested authority to a servicer.
        "authority": context._rpc_event.call_details.host.decode(),
        "headers": {item.key: str(item.value) for item in context.invocation_metadata()},
        "outputs": list(request.output_filter),
    }


def _fill(tensor: Any, array: Any) -> None:
    tensor.CopyFrom(tf.make_tensor_proto(array))
    name = types_pb2.DataType.Name(tensor.dtype)
    if name in VALUE_FIELDS and array.ndim:
        tensor.ClearField("tensor_content")
        tensor.ClearField(VALUE_FIELDS[name])
        getattr(tensor, VALUE_FIELDS[name]).extend(array.ravel().tolist())


class RestHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Sent in pieces, an answer waits 40 ms for the client's acknowledgement of its first piece.
    wbufsize = -1
    disable_nagle_algorithm = True

    def __init__(self, models: Models, behaviour: Behaviour, served_by: int, *arguments: Any) -> None:
        self._models = models
        self._behaviour = behaviour
        self._served_by = str(served_by)
        super().__init__(*arguments)

    def do_GET(self) -> None:
        if self.path == "/test/calls":
            return self._send(200, self._behaviour.calls)
        return self._answer(self._metadata if self.path.endswith("/metadata") else self._status)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if self.path == "/test/behaviour":
            behaviour = json.loads(body)
            self._behaviour.delay_ms = behaviour.get("delay_ms", 0)
            self._behaviour.failures = behaviour.get("failures", [])
            return self._send(200, {})
        return self._answer(partial(self._predict, body))

    def _answer(self, method: Any) -> None:
        try:
            self._send(200, method())
        except ServingStatusError as error:
            self._send(HTTP_STATUS[error.code], {"error": error.text})

    def _status(self) -> Any:
        version, _ = self._models.find(self._model_spec(""))
        status = {"error_code": "OK", "error_message": ""}
        return {"model_version_status": [{"version": str(version), "state": "AVAILABLE", "status": status}]}

    def _metadata(self) -> Any:
        message = self._models.metadata(self._model_spec("/metadata"))
        return json_format.MessageToDict(
            message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
        )

    def _predict(self, body: bytes) -> Any:
        spec = self._model_spec(":predict")
        headers = {name.lower(): value for name, value in self.headers.items()}
        with self._behaviour.call(protocol="rest", authority=headers["host"], headers=headers, path=self.path):
            request = json.loads(body)
            spec.signature_name = request.get("signature_name", "")
            infos = self._models.definition(spec).inputs
            if "instances" in request:
                _, outputs = self._models.predict(spec, _instances(request["instances"], infos))
                return {"predictions": _predictions(outputs)}
            _, outputs = self._models.predict(spec, _columns(request["inputs"], infos))
            values = {name: _json_value(name, array) for name, array in outputs.items()}
            return {"outputs": values if len(values) > 1 else next(iter(values.values()))}

    def _model_spec(self, suffix: str) -> Any:
        pattern = r"(?:/ingress)?/v1/models/([^/:]+)(?:/versions/(\d+)|/labels/([^/:]+))?" + suffix
        match = re.fullmatch(pattern, self.path)
        if not match:
            raise ServingStatusError("INVALID_ARGUMENT", f"Malformed request: {self.command} {self.path}")
        spec = model_pb2.ModelSpec(name=match[1])
        if match[2]:
            spec.version.value = int(match[2])
        if match[3]:
            spec.version_label = match[3]
        return spec

    def _send(self, status: int, value: Any) -> None:
        body = json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogateescape")
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.send_header("served-by", self._served_by)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Logs nothing."""


def _columns(inputs: Any, infos: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(inputs, dict):
        if len(infos) > 1:
            text = (
                "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
                "tensorinfo_map"
            )
            raise ServingStatusError("INVALID_ARGUMENT", text)
        inputs = dict.fromkeys(infos, inputs)
    for name in infos:
        if name not in inputs:
            raise ServingStatusError("INVALID_ARGUMENT", f"Missing named input: {name} in 'inputs' object.")
    return {name: _array(inputs[name], info) for name, info in infos.items()}


def _instances(rows: list[Any], infos: Mapping[str, Any]) -> dict[str, Any]:
    if not rows:
        raise ServingStatusError("INVALID_ARGUMENT", "JSON Value: {} No values in 'instances' array")
    if not isinstance(rows[0], dict) or set(rows[0]) == {"b64"}:
        if len(infos) > 1:
            text = (
                "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
                "tensorinfo_map"
            )
            raise ServingStatusError("INVALID_ARGUMENT", text)
        rows = [dict.fromkeys(infos, row) for row in rows]
    for number, row in enumerate(rows):
        if set(row) != set(infos):
            text = f"Failed to process element: {number} of 'instances' list. keys must be equal to: {','.join(infos)}"
            raise ServingStatusError("INVALID_ARGUMENT", text)
    return {name: _array([row[name] for row in rows], info) for name, info in infos.items()}


def _array(value: Any, info: Any) -> Any:
    dtype = tf.dtypes.as_dtype(info.dtype)
    try:
        return np.array(_decoded(value), dtype.as_numpy_dtype)
    except (TypeError, ValueError) as error:
        text = f"JSON Value: {json.dumps(value)[:80]} is not of expected type: {dtype.name}"
        raise ServingStatusError("INVALID_ARGUMENT", text) from error


def _decoded(value: Any) -> Any:
    if isinstance(value, list):
        return [_decoded(item) for item in value]
    return base64.b64decode(value["b64"]) if isinstance(value, dict) else value


def _json_value(name: str, array: Any) -> Any:
    if array.dtype != object:
        return array.tolist()
    return _encoded(array.tolist(), as_bytes=name.endswith("_bytes"))


def _encoded(value: Any, *, as_bytes: bool) -> Any:
    if isinstance(value, list):
        return [_encoded(item, as_bytes=as_bytes) for item in value]
    return {"b64": base64.b64encode(value).decode()} if as_bytes else value.decode("utf-8", "surrogateescape")


def _predictions(outputs: Mapping[str, Any]) -> list[Any]:
    columns = {name: _json_value(name, array) for name, array in outputs.items()}
    if len(columns) == 1:
        return list(next(iter(columns.values())))
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1", help="the address at which it listens")
    parser.add_argument("--grpc-port", type=int, required=True)
    parser.add_argument("--rest-port", type=int, required=True)
    parser.add_argument("--model", action="append", default=[], metavar="NAME=PATH[:VERSION]")
    parser.add_argument("--label", action="append", default=[], metavar="NAME:LABEL=VERSION")
    parser.add_argument("--delay-ms", type=int, default=0)
    parser.add_argument("--without-metadata", action="store_true", help="GetModelMetadata answers UNIMPLEMENTED")
    parser.add_argument("--max-message-mib", type=int, help="largest request over gRPC; the real one has no limit")
    parser.add_argument("--grpc-tls-port", type=int)
    parser.add_argument("--rest-tls-port", type=int)
    parser.add_argument("--tls-certificate", type=Path)
    parser.add_argument("--tls-key", type=Path)
    return parser.parse_args()


def start_grpc(arguments: argparse.Namespace, service: PredictionService) -> Any:
    limit = arguments.max_message_mib * 2**20 if arguments.max_message_mib else -1
    # Two servers must not share a port, or calls would reach either.
    options = [("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", limit)]
    server = grpc.server(ThreadPoolExecutor(32), options=options)
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(service, server)
    server.add_insecure_port(f"{arguments.host}:{arguments.grpc_port}")
    if arguments.grpc_tls_port:
        pair = (arguments.tls_key.read_bytes(), arguments.tls_certificate.read_bytes())
        server.add_secure_port(f"{arguments.host}:{arguments.grpc_tls_port}", grpc.ssl_server_credentials([pair]))
    server.start()
    return server


class RestServer(ThreadingHTTPServer):
    request_queue_size = 64


def start_rest(arguments: argparse.Namespace, handler: Any) -> None:
    servers = [RestServer((arguments.host, arguments.rest_port), handler)]
    if arguments.rest_tls_port:
        context = SSLContext(PROTOCOL_TLS_SERVER)
        context.load_cert_chain(arguments.tls_certificate, arguments.tls_key)
        secure = RestServer((arguments.host, arguments.rest_tls_port), handler)
        secure.socket = context.wrap_socket(secure.socket, server_side=True)
        servers.append(secure)
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()


def main() -> None:
    arguments = parse_arguments()
    models = Models(arguments.model, arguments.label)
    behaviour = Behaviour(arguments.delay_ms)
    service = PredictionService(models, behaviour, arguments.rest_port, without_metadata=arguments.without_metadata)
    server = start_grpc(arguments, service)
    start_rest(arguments, partial(RestHandler, models, behaviour, arguments.rest_port))
    print("ready", flush=True)
    # The pipe closes when the process that started this one ends, however it ends: no server is left behind.
    sys.stdin.read()
    server.stop(0)


if __name__ == "__main__":
    main()
