"""Optional packages, and the extra of beam-serving that installs each of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from models.errors import MissingExtraError

# Maps an imported module to the extra in setup.py that installs it.
EXTRA_OF = {
    "authlib": "registry",
    "datasketches": "drift",
    "huggingface_hub": "huggingface",
    "jpype": "h2o",
    "kubernetes": "kubernetes",
    "lightgbm": "lightgbm",
    "mlflow": "mlflow",
    "numba": "explain",
    "onnxruntime": "onnx",
    "openlineage": "lineage",
    "open_inference": "servers",
    "opentelemetry": "telemetry",
    "pandas": "mlflow",
    "shap": "explain",
    "sklearn": "sklearn",
    "skops": "sklearn",
    "starlette": "dashboard",
    "tenacity": "servers",
    "tensorflow_serving": "servers",
    "torch": "pytorch",
    "uvicorn": "dashboard",
    "xgboost": "xgboost",
}


@contextmanager
def extras_named() -> Iterator[None]:
    """A context in which a failed import of an optional package is reported with the extra that installs it.

    Raises:
      MissingExtraError: when a module of an extra is missing; the message names the package to install.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        extra = EXTRA_OF.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        raise MissingExtraError(
            f"the Python module {error.name} is missing; install beam-serving[{extra}] here and wherever workers run"
        ) from error
