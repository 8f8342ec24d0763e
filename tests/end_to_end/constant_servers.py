"""Models of the types on servers, whose answer is always the same number: a real MLServer, and a double of TF Serving.

with constant_servers(tmp_path, {"open-inference-grpc": (7, [1, 4])}) as location_of:
    location_of("open-inference-grpc", 4)  # the location of a version that answers 7
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.models.scorers.servers import mlserver_replica, open_inference_server, tensorflow_serving_replica
from tests.models.scorers.servers.served_models import X, Y
from tests.saved_models import save_version_model


@dataclass(frozen=True)
class ServedConstant:
    """The names of the only input and of the output with the number, and the location of a version on a server.

    The location has the places {host}, {model} and {version}.
    """

    takes: str
    gives: str
    location: str


SERVED_CONSTANTS: Mapping[str, ServedConstant] = {
    "open-inference-grpc": ServedConstant("x", "y", "grpc://{host}/{model}/versions/{version}"),
    "open-inference-rest": ServedConstant("x", "y", "http://{host}/v2/models/{model}/versions/{version}"),
    "tensorflow-serving-grpc": ServedConstant("x", "version", "grpc://{host}/{model}/versions/{version}"),
    "tensorflow-serving-rest": ServedConstant("x", "version", "http://{host}/v1/models/{model}/versions/{version}"),
}

Answers = Mapping[str, tuple[int, Sequence[int]]]


@contextmanager
def constant_servers(folder: Path, answers: Answers) -> Iterator[Callable[[str, int], str]]:
    """Runs the servers, each with a model for each of its types; returns the location of a version of a type.

    Args:
      folder: an empty folder for models, settings and logs.
      answers: the number that the model of each type answers, and the versions under which it is served; empty if no
        server is needed.
    """
    with ExitStack() as stack:
        if not answers:
            yield lambda kind, version: ""
            return
        hosts = stack.enter_context(_mlserver(folder / "mlserver", answers))
        hosts |= stack.enter_context(_tensorflow_serving(folder / "tensorflow", answers))
        yield lambda kind, version: SERVED_CONSTANTS[kind].location.format(
            host=hosts[kind], model=kind, version=version
        )


@contextmanager
def _mlserver(folder: Path, answers: Answers) -> Iterator[dict[str, str]]:
    folder.mkdir()
    kinds = (open_inference_server.GRPC, open_inference_server.REST)
    for kind in kinds:
        number, versions = answers[kind]
        for version in versions:
            mlserver_replica.save_model(
                folder / f"{kind}-{version}",
                kind,
                "Constant",
                version=str(version),
                inputs=X,
                outputs=Y,
                extra={"number": number},
            )
    replica = mlserver_replica.serve(folder)
    try:
        replica.wait_until_ready()
        ports = (replica.grpc_port, replica.rest_port)
        yield {kind: f"127.0.0.1:{port}" for kind, port in zip(kinds, ports, strict=True)}
    finally:
        replica.process.kill()


@contextmanager
def _tensorflow_serving(folder: Path, answers: Answers) -> Iterator[dict[str, str]]:
    kinds = ("tensorflow-serving-grpc", "tensorflow-serving-rest")
    models = {}
    for kind in kinds:
        number, versions = answers[kind]
        saved = save_version_model(folder / kind, number)
        models.update({f"{kind}:{version}": saved for version in versions})
    with tensorflow_serving_replica.running(models) as replica:
        ports = (replica.grpc_port, replica.rest_port)
        yield {kind: f"127.0.0.1:{port}" for kind, port in zip(kinds, ports, strict=True)}
