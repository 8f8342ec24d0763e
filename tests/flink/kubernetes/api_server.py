"""A real API server of Kubernetes with its etcd, and nothing else: enough for a dry run of manifests."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from flink.cluster.building import binaries
from flink.cluster.commands import run
from flink.cluster.errors import ClusterError
from flink.cluster.node.certificates import Authority, write_signing_key
from runners.local.free_ports import HOST, free_port
from runners.local.server_process import ServerProcess, end_of_log

_SECONDS = 90.0


class ApiServer:
    """An API server on a free port, which ends with the block. Anybody may start it: it needs no privileges.

    Args:
      folder: where it keeps data, certificates and logs.

    Raises:
      ClusterError: it cannot be built, or does not start.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._address = f"{HOST}:{free_port()}"
        self._etcd = f"http://{HOST}:{free_port()}"
        self._stack = ExitStack()

    def __enter__(self) -> ApiServer:
        programs = binaries.build(binaries.KUBERNETES)
        self._write_certificates()
        self._start([str(programs / "etcd"), *self._etcd_options()])
        server = self._start([str(programs / "kube-apiserver"), *self._options()])
        deadline = time.monotonic() + _SECONDS
        while not self._is_ready():
            if not server.running or time.monotonic() > deadline:
                self._stack.close()
                raise ClusterError(f"the API server did not start:\n{end_of_log(server.output)}")
            time.sleep(0.5)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def kubectl(self, *arguments: str, given: str | None = None) -> str:
        """Runs kubectl as administrator and returns its output; raises ClusterError when it fails."""
        identity = [
            f"--server=https://{self._address}",
            f"--certificate-authority={self._folder / 'ca.crt'}",
            f"--client-certificate={self._folder / 'admin.crt'}",
            f"--client-key={self._folder / 'admin.key'}",
        ]
        kubectl = binaries.KUBERNETES.file.with_name("kubectl")
        return run([kubectl, "--kubeconfig=/dev/null", *identity, *arguments], given=given, seconds=60.0)

    def _start(self, command: list[str]) -> ServerProcess:
        server = ServerProcess(command, self._folder / f"{Path(command[0]).name}.log")
        self._stack.callback(server.kill)
        return server

    def _write_certificates(self) -> None:
        authority = Authority(self._folder)
        authority.issue("server", "kube-apiserver", hosts=(HOST,))
        authority.issue("admin", "admin", organization="system:masters")
        write_signing_key(self._folder / "service-accounts.key")

    def _etcd_options(self) -> list[str]:
        peers = f"http://{HOST}:{free_port()}"
        return [
            f"--data-dir={self._folder / 'etcd'}",
            "--unsafe-no-fsync",
            "--log-level=warn",
            f"--listen-client-urls={self._etcd}",
            f"--advertise-client-urls={self._etcd}",
            f"--listen-peer-urls={peers}",
            f"--initial-advertise-peer-urls={peers}",
            f"--initial-cluster=default={peers}",
        ]

    def _options(self) -> list[str]:
        return [
            f"--etcd-servers={self._etcd}",
            f"--bind-address={HOST}",
            f"--secure-port={self._address.rpartition(':')[2]}",
            f"--client-ca-file={self._folder / 'ca.crt'}",
            f"--tls-cert-file={self._folder / 'server.crt'}",
            f"--tls-private-key-file={self._folder / 'server.key'}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={self._folder / 'service-accounts.key'}",
            f"--service-account-signing-key-file={self._folder / 'service-accounts.key'}",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--authorization-mode=RBAC",
            f"--cert-dir={self._folder}",
        ]

    def _is_ready(self) -> bool:
        try:
            self.kubectl("get", "--raw=/readyz")
        except ClusterError:
            return False
        return True
