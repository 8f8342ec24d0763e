"""A small Open Inference server with the responses that a test sets, including some that no real server sends."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from open_inference.grpc import protocol, service

from tests.certificates import Certificate
from tests.http_server import QuietHandler, http_server, server_context


@dataclass
class Answers:
    """The server's responses over gRPC.

    Attributes:
      infer: the response to ModelInfer.
      inputs, outputs: datatype and shape by name, in the metadata.
      error: the text with which ModelInfer fails instead, if it is not empty.
      ready: the responses to the calls of ModelReady in turn; True after the last.
      requests: the calls of ModelInfer so far.
      metadata: the metadata of those calls.
    """

    infer: Any = field(default_factory=protocol.ModelInferResponse)
    inputs: Mapping[str, tuple[str, list[int]]] = field(default_factory=lambda: {"x": ("FP32", [-1])})
    outputs: Mapping[str, tuple[str, list[int]]] = field(default_factory=dict)
    error: str = ""
    ready: list[bool] = field(default_factory=list)
    requests: list[Any] = field(default_factory=list)
    metadata: list[Mapping[str, str]] = field(default_factory=list)


class _Service(service.GRPCInferenceServiceServicer):
    def __init__(self, answers: Answers) -> None:
        self._answers = answers

    def ModelReady(self, request: Any, context: Any) -> Any:
        ready = self._answers.ready.pop(0) if self._answers.ready else True
        return protocol.ModelReadyResponse(ready=ready)

    def ModelMetadata(self, request: Any, context: Any) -> Any:
        answer = protocol.ModelMetadataResponse(name=request.name)
        for tensors, described in ((answer.inputs, self._answers.inputs), (answer.outputs, self._answers.outputs)):
            for name, (datatype, shape) in described.items():
                tensors.add(name=name, datatype=datatype, shape=shape)
        return answer

    def ModelInfer(self, request: Any, context: Any) -> Any:
        self._answers.requests.append(request)
        self._answers.metadata.append({item.key: str(item.value) for item in context.invocation_metadata()})
        if self._answers.error:
            context.abort(grpc.StatusCode.INTERNAL, self._answers.error)
        return self._answers.infer


@contextmanager
def grpc_server(answers: Answers, certificate: Certificate | None = None) -> Iterator[str]:
    """Runs a gRPC server, with TLS if there is a certificate; returns its address."""
    server = grpc.server(ThreadPoolExecutor(4), options=[("grpc.so_reuseport", 0)])
    service.add_GRPCInferenceServiceServicer_to_server(_Service(answers), server)
    if certificate is None:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        pair = (certificate.key.read_bytes(), certificate.certificate.read_bytes())
        port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([pair]))
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


@dataclass
class RestAnswers:
    """The server's responses over REST.

    Attributes:
      paths: status, headers and body by the end of the path; the response to any other path is 404.
      requests: path, headers and body of the calls so far.
    """

    paths: dict[str, tuple[int, Mapping[str, str], bytes]]
    requests: list[tuple[str, Mapping[str, str], bytes]] = field(default_factory=list)


def json_answer(value: Any) -> tuple[int, Mapping[str, str], bytes]:
    """A successful response."""
    return 200, {}, json.dumps(value).encode()


@contextmanager
def rest_server(answers: RestAnswers, certificate: Certificate | None = None) -> Iterator[str]:
    """Runs a REST server, with TLS if there is a certificate; returns its address."""

    class Handler(QuietHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1

        def do_GET(self) -> None:
            body = self.body()
            answers.requests.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
            found = [answer for end, answer in answers.paths.items() if self.path.endswith(end)]
            status, headers, content = found[0] if found else (404, {}, b"not found")
            self.send(status, content, headers)

        def do_POST(self) -> None:
            self.do_GET()

    with http_server(Handler, None if certificate is None else server_context(certificate)) as host:
        yield host
