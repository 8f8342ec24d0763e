"""A real KServe: the server in the package `kserve`, with the models of `served_models.py`."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from runners.local.free_ports import free_port
from tests.models.scorers.servers.open_inference_server import FOLDER, GRPC, REST, Replica
from tests.models.scorers.servers.server_environment import server_environment


class Kserve:
    """See `tests.models.scorers.servers.open_inference_server.OpenInferenceServer`."""

    adder = "adder"
    offset = 0.0
    versions: ClassVar = {"adder": (0.0, None)}
    halves = frozenset({GRPC})
    nan = True
    # Over gRPC, KServe keeps the text of an error to itself.
    failure: ClassVar = {GRPC: "INTERNAL: Internal server error", REST: "500: .*13 is not scored!!!"}
    unknown: ClassVar = {"unknown": "Model with name unknown does not exist"}

    def start(self, folder: Path, forest: Path, *, load_seconds: float = 0.0) -> Replica:
        """Starts a process without waiting until it is ready."""
        grpc_port, rest_port = free_port(), free_port()
        python = server_environment("kserve", FOLDER / "kserve.lock.txt") / "python"
        arguments = {
            "http_port": rest_port,
            "grpc_port": grpc_port,
            "load_seconds": load_seconds,
            "forest": forest,
        }
        command = [
            str(python),
            str(FOLDER / "kserve_models.py"),
            *(f"--{name}={one}" for name, one in arguments.items()),
        ]
        return Replica(command, folder / "log", grpc_port, rest_port, _calls)


def _calls(replica: Replica) -> int:
    return int(replica.read("/test/calls"))


KSERVE = Kserve()
