"""A real MLServer with the models of `served_models.py`, and with others that only its own tests use."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from runners.local.free_ports import free_port
from tests.models.scorers.servers.open_inference_server import FOLDER, GRPC, REST, Replica
from tests.models.scorers.servers.served_models import CLASSES, FEATURES, HALVES, KINDS, Tensors, X, Y, tensor
from tests.models.scorers.servers.server_environment import server_environment


class Mlserver:
    """See `tests.models.scorers.servers.open_inference_server.OpenInferenceServer`."""

    # The newest version that MLServer has loaded answers a call that names none, so tests name one.
    adder = "adder/versions/v3"
    offset = 3000.0
    versions: ClassVar = {
        "adder/versions/v3": (3000.0, None),
        "adder/versions/1": (1000.0, 1),
        "adder/versions/2": (2000.0, 2),
    }
    halves = frozenset({GRPC, REST})
    # MLServer itself fails over gRPC when an output has NaN.
    nan = False
    failure: ClassVar = {GRPC: "INTERNAL: .*13 is not scored!!!", REST: "500: .*13 is not scored!!!"}
    unknown: ClassVar = {"unknown": "Model unknown .*not found", "adder/versions/9": "with version 9 not found"}

    def start(self, folder: Path, forest: Path, *, load_seconds: float = 0.0) -> Replica:
        """Starts a process without waiting until it is ready."""
        extra = {"load_seconds": load_seconds}
        for version in ("v3", "1", "2"):
            save_model(folder / f"adder-{version}", "adder", "Adder", version=version, inputs=X, outputs=Y, extra=extra)
        save_model(folder / "kinds", "kinds", "Kinds", inputs=KINDS, outputs=KINDS)
        save_model(folder / "halves", "halves", "Kinds", inputs=HALVES, outputs=HALVES)
        save_model(
            folder / "forest", "forest", "Forest", inputs=FEATURES, outputs=CLASSES, extra={"forest": str(forest)}
        )
        save_model(folder / "undefined", "undefined", "Undefined")
        # The input lacks the dimension of the batch, as in some examples of MLServer's.
        save_model(folder / "wrong", "wrong", "Undefined", inputs=[tensor("x", "FP32", 1)])
        save_model(folder / "liar", "liar", "Adder", inputs=X, outputs=[tensor("y", "FP32", -1, 2)])
        return serve(folder)


def serve(folder: Path) -> Replica:
    """Starts a process with the models that `save_model` saved in this folder, without waiting until it is ready."""
    rest_port, grpc_port, metrics_port = (free_port() for _ in range(3))
    settings = {
        "host": "127.0.0.1",
        "http_port": rest_port,
        "grpc_port": grpc_port,
        "metrics_port": metrics_port,
        "metrics_endpoint": None,
        "parallel_workers": 0,
        "grpc_max_message_length": 4 * 2**20,
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    program = server_environment("mlserver", FOLDER / "mlserver.lock.txt") / "mlserver"
    command = [str(program), "start", str(folder)]
    models = {"PYTHONPATH": str(FOLDER)}
    return Replica(command, folder / "log", grpc_port, rest_port, _count_calls, models)


def calls(replica: Replica) -> list[dict[str, Any]]:
    """The calls of `adder` so far, as recorded by `mlserver_models.py`."""
    noted: list[dict[str, Any]] = json.loads(replica.read("/test/calls", b""))
    return noted


def behave(replica: Replica, *, delay: float = 0.0) -> None:
    """Makes the following calls of `adder` take this many seconds."""
    replica.read(f"/test/behaviour?delay={delay}", b"")


def _count_calls(replica: Replica) -> int:
    return len(calls(replica))


def save_model(
    folder: Path,
    name: str,
    model: str,
    *,
    version: str | None = None,
    inputs: Tensors | None = None,
    outputs: Tensors | None = None,
    extra: Mapping[str, Any] | None = None,
) -> None:
    """Saves the settings of a model in a new folder.

    Args:
      folder: the folder, within that of the server.
      name: the name of the model.
      model: its class in `mlserver_models.py`.
      version: the text for its version.
      inputs, outputs: its metadata; None for none.
      extra: the parameters of the class.
    """
    folder.mkdir()
    settings = {
        "name": name,
        "implementation": f"mlserver_models.{model}",
        "inputs": inputs or [],
        "outputs": outputs or [],
        "parameters": {"version": version, "extra": dict(extra or {})},
    }
    (folder / "model-settings.json").write_text(json.dumps(settings))


MLSERVER = Mlserver()
