"""A real MLflow tracking server with its registry, in its own environment: SQLite and a folder for the files.

with running(tmp_path) as server:
    version = server.log(estimator, example)
"""

from __future__ import annotations

import json
import os
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow.sklearn
from mlflow.models import infer_signature

from runners.local.free_ports import free_port
from runners.local.server_process import ServerProcess
from tests.http_server import wait_until_served
from tests.models.scorers.servers.server_environment import server_environment

LOCK = Path(__file__).with_name("mlflow.lock.txt")
START_SECONDS = 180.0


@dataclass(frozen=True)
class MlflowServer:
    """A running server.

    Attributes:
      url: the URL of the server.
      folder: the folder in which it keeps everything.
    """

    url: str
    folder: Path

    # Of the server that asks for them.
    USER = "admin"
    PASSWORD = "s3cret-of-the-admin"

    @property
    def client(self) -> Any:
        """MLflow's own client."""
        return mlflow.MlflowClient(self.url, self.url)

    def log(self, name: str, estimator: Any, example: Any) -> str:
        """Logs and registers an estimator; returns its version number."""
        mlflow.set_tracking_uri(self.url)
        mlflow.set_registry_uri(self.url)
        with mlflow.start_run():
            logged = mlflow.sklearn.log_model(
                estimator,
                name="model",
                registered_model_name=name,
                signature=infer_signature(example),
                serialization_format="skops",
                pip_requirements=["numpy"],
            )
        return str(logged.registered_model_version)

    def point(self, name: str, alias: str, version: str) -> None:
        """Sets an alias."""
        self.client.set_registered_model_alias(name, alias, version)

    def add_user(self, name: str, password: str) -> None:
        """Adds a user with permission to read."""
        credentials = b64encode(f"{self.USER}:{self.PASSWORD}".encode()).decode()
        request = urllib.request.Request(
            f"{self.url}/api/2.0/mlflow/users/create",
            json.dumps({"username": name, "password": password}).encode(),
            {"Authorization": f"Basic {credentials}", "Content-Type": "application/json"},
        )
        urllib.request.urlopen(request, timeout=30).close()


@contextmanager
def running(folder: Path, *, with_passwords: bool = False) -> Iterator[MlflowServer]:
    """Starts a server, waits until it responds, and stops it at the end; fails when it does not start.

    Args:
      folder: the folder for everything that the server keeps.
      with_passwords: whether it only accepts requests with the user and password of `MlflowServer`.
    """
    port = free_port()
    bin_folder = server_environment("mlflow", LOCK)
    command = [
        str(bin_folder / "mlflow"),
        *("server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"),
        *("--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder / "files")),
    ]
    # The server starts others by their names.
    environment = {
        "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        # Processes for jobs that no test starts.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    if with_passwords:
        command += ["--app-name", "basic-auth"]
        environment |= {
            "MLFLOW_AUTH_CONFIG_PATH": str(_write_passwords(folder)),
            "MLFLOW_FLASK_SERVER_SECRET_KEY": "of a server that lives for a test",
        }
    process = ServerProcess(command, folder / "log", environment)
    try:
        wait_until_served(process, f"http://127.0.0.1:{port}/health", START_SECONDS)
        yield MlflowServer(f"http://127.0.0.1:{port}", folder)
    finally:
        process.kill()


def _write_passwords(folder: Path) -> Path:
    settings = {
        "default_permission": "READ",
        "database_uri": f"sqlite:///{folder}/users.db",
        "admin_username": MlflowServer.USER,
        "admin_password": MlflowServer.PASSWORD,
    }
    path = folder / "users.ini"
    path.write_text("\n".join(["[mlflow]", *(f"{name} = {value}" for name, value in settings.items())]))
    return path
