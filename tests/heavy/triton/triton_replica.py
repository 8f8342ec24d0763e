"""A real Triton on CPU: the server in the package `nvidia-pytriton`, with the models of `served_models.py`."""

from __future__ import annotations

import json
import os
import shutil
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from runners.local.free_ports import free_port
from tests.models.scorers.servers.open_inference_server import FOLDER, GRPC, REST, Replica
from tests.models.scorers.servers.served_models import CLASSES, FEATURES, HALVES, KINDS, Tensors, X, Y
from tests.models.scorers.servers.server_environment import server_environment

HERE = Path(__file__).parent


class Triton:
    """See `tests.models.scorers.servers.open_inference_server.OpenInferenceServer`."""

    adder = "adder/versions/3"
    offset = 3000.0
    versions: ClassVar = {"adder": (3000.0, 3), "adder/versions/3": (3000.0, 3), "adder/versions/1": (1000.0, 1)}
    halves = frozenset({GRPC, REST})
    nan = True
    failure: ClassVar = {GRPC: "INTERNAL: .*13 is not scored!!!", REST: "500: .*13 is not scored!!!"}
    # Triton also reports models that it lacks only as not ready.
    unknown: ClassVar = {
        "unknown": "no model 'unknown' that is ready|400: Model version not ready",
        "adder/versions/9": "no model 'adder' that is ready|400: Model version not ready",
    }

    def start(self, folder: Path, forest: Path, *, load_seconds: float = 0.0) -> Replica:
        """Starts a process without waiting until it is ready."""
        models = folder / "models"
        slow = {"load_seconds": str(load_seconds)}
        save_model(models, "adder", "Adder", inputs=X, outputs=Y, versions=("1", "3"), parameters=slow)
        save_model(models, "kinds", "Kinds", inputs=KINDS, outputs=KINDS)
        save_model(models, "halves", "Kinds", inputs=HALVES, outputs=HALVES)
        save_model(models, "forest", "Forest", inputs=FEATURES, outputs=CLASSES, parameters={"forest": str(forest)})
        # Whole rows: the first size of each tensor is that of the batch, and not in the configuration.
        save_model(models, "limited", "Kinds", inputs=HALVES, outputs=HALVES, most_rows=64)
        return start_triton(models, folder / "log")


def start_triton(models: Path, log: Path, *arguments: str) -> Replica:
    """Starts Triton with a model repository, without waiting until it is ready.

    Raises:
      RuntimeError: when there is no Triton for this machine or this Python.
    """
    if sys.platform != "linux" or os.uname().machine != "x86_64":
        raise RuntimeError("nvidia-pytriton has Triton for Linux on x86-64 only: leave out tests/heavy/triton here")
    if sys.version_info >= (3, 13) or not sysconfig.get_config_var("Py_ENABLE_SHARED"):
        raise RuntimeError("Triton's backend needs Python 3.10 to 3.12 with a shared library (--enable-shared)")
    programs = server_environment("triton", HERE / "triton.lock.txt", with_dependencies=False)
    (triton,) = programs.parent.glob("lib/python*/site-packages/pytriton/tritonserver")
    _add_stub(triton)
    grpc_port, rest_port = free_port(), free_port()
    command = [
        str(triton / "bin" / "tritonserver"),
        f"--model-repository={models}",
        f"--backend-directory={triton / 'backends'}",
        "--http-address=127.0.0.1",
        "--grpc-address=127.0.0.1",
        f"--http-port={rest_port}",
        f"--grpc-port={grpc_port}",
        "--allow-metrics=false",
        *arguments,
    ]
    # The backend embeds the Python that it finds on the path, and its library; PYTHONPATH it ignores.
    environment = {
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "LD_LIBRARY_PATH": str(sysconfig.get_config_var("LIBDIR")),
    }
    return Replica(command, log, grpc_port, rest_port, _calls, environment)


def save_model(
    models: Path,
    name: str,
    program: str,
    *,
    inputs: Tensors,
    outputs: Tensors,
    versions: Sequence[str] = ("1",),
    parameters: Mapping[str, str] | None = None,
    most_rows: int = 0,
) -> None:
    """Writes a model of `triton_models.py` into a repository.

    Args:
      models: the folder of the repository.
      name: the name of the model.
      program: the class.
      inputs, outputs: the inputs and outputs, as in the metadata.
      versions: the version numbers.
      parameters: the parameters of the class.
      most_rows: Triton's `max_batch_size`; with 0, Triton does not know which dimension is that of the batch.
    """
    folders = [str(FOLDER), str(HERE)]
    text = f"import sys\nsys.path += {folders}\nfrom triton_models import {program} as TritonPythonModel\n"
    for version in versions:
        (models / name / version).mkdir(parents=True)
        (models / name / version / "model.py").write_text(text)
    lines = [
        'backend: "python"',
        f"max_batch_size: {most_rows}",
        "version_policy: { all {} }",
        "instance_group [ { kind: KIND_CPU count: 1 } ]",
        *(_tensor_text("input", one, batched=most_rows > 0) for one in inputs),
        *(_tensor_text("output", one, batched=most_rows > 0) for one in outputs),
        *(
            f"parameters {{ key: {json.dumps(key)} value: {{ string_value: {json.dumps(value)} }} }}"
            for key, value in (parameters or {}).items()
        ),
    ]
    (models / name / "config.pbtxt").write_text("\n".join(lines))


def _tensor_text(part: str, one: Mapping[str, object], *, batched: bool) -> str:
    datatype = "STRING" if one["datatype"] == "BYTES" else one["datatype"]
    shape = one["shape"]
    assert isinstance(shape, list)
    sizes = (shape[1:] or [1]) if batched else shape
    return f'{part} {{ name: "{one["name"]}" data_type: TYPE_{datatype} dims: {sizes} }}'


def _add_stub(triton: Path) -> None:
    """Puts the program that embeds this Python where the backend looks for it."""
    name = "triton_python_backend_stub"
    target = triton / "backends" / "python" / name
    if not target.exists():
        part = target.with_suffix(f".{os.getpid()}")
        shutil.copy(triton / "python_backend_stubs" / f"{sys.version_info.major}.{sys.version_info.minor}" / name, part)
        part.chmod(0o755)
        part.replace(target)


def _calls(replica: Replica) -> int:
    (statistics,) = json.loads(replica.read("/v2/models/adder/versions/3/stats"))["model_stats"]
    return int(statistics["inference_stats"]["success"]["count"])


TRITON = Triton()
