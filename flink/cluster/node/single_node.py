"""The node: one machine with everything of Kubernetes, started and stopped as processes of this machine."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from flink.cluster import layout, machine, processes
from flink.cluster.building import binaries
from flink.cluster.commands import run
from flink.cluster.errors import ClusterError
from flink.cluster.kubernetes_client import answers, kubectl
from flink.cluster.node import cgroups, configuration, containers, network
from runners.local.cache_folder import announce, cache_folder

_SECONDS = 90.0
# In the order in which they are started.
PROGRAMS = (
    "containerd",
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
    "coredns",
    "kube-router",
)
# What is deleted by `down`; the rest of the folder are logs.
_DELETED = (
    *("cni", "containerd", "containerd-opt", "etcd", "kubelet", "pki", "pod-addresses", "pod-logs", "processes"),
    *("volume-plugins", "api-server", "controllers", "scheduler", "flink-state"),
)


def is_up() -> bool:
    """Whether the API server runs."""
    return processes.find("kube-apiserver") is not None


def up() -> None:
    """Starts the node and returns when it is ready.

    Raises:
      MissingPartError: this machine lacks something.
      ClusterError: the cluster is up already, or a program does not start; the message has the end of its log.
    """
    machine.check_running()
    if is_up():
        raise ClusterError("the cluster is up already; make kubernetes-down ends it")
    down()
    machine.keep_settings()
    shutil.rmtree(layout.log_folder(), ignore_errors=True)
    network.up()
    configuration.write_all()
    _start_control_plane()
    _start_node()
    _wait_for("the node", _node_is_ready, "kubelet")
    # It reads the node's addresses of pods when it starts, so the node must be known.
    processes.start("kube-router", [binaries.KUBE_ROUTER.file, *_router_options()])


def _start_control_plane() -> None:
    kubernetes = binaries.build(binaries.KUBERNETES)
    processes.start("containerd", ["containerd", "--config", layout.node_folder() / "containerd.toml"])
    processes.start("etcd", [kubernetes / "etcd", *etcd_options(layout.node_folder() / "etcd")])
    processes.start("kube-apiserver", [kubernetes / "kube-apiserver", *_api_server_options()])
    _wait_for("the API server", answers, "kube-apiserver")
    processes.start("kube-controller-manager", [kubernetes / "kube-controller-manager", *_controller_options()])
    processes.start("kube-scheduler", [kubernetes / "kube-scheduler", *_scheduler_options()])


def _start_node() -> None:
    kubernetes, folder = binaries.KUBERNETES.file.parent, layout.node_folder()
    _wait_for("containerd", layout.containerd_socket().is_socket, "containerd")
    start_kubelet()
    processes.start("kube-proxy", [kubernetes / "kube-proxy", f"--config={folder / 'proxy.yaml'}"])
    processes.start("coredns", [binaries.COREDNS.file, "-conf", folder / "Corefile"])


def start_kubelet() -> None:
    """Starts the kubelet. While it is stopped (`processes.stop("kubelet")`), pods run on without supervision."""
    folder = layout.node_folder()
    kubelet = [f"--kubeconfig={layout.kubeconfig('kubelet')}", f"--config={folder / 'kubelet.yaml'}"]
    place = [
        f"--hostname-override={layout.NODE}",
        f"--node-ip={layout.NODE_ADDRESS}",
        f"--root-dir={folder / 'kubelet'}",
    ]
    processes.start("kubelet", [binaries.KUBERNETES.file.parent / "kubelet", *kubelet, *place])


def etcd_options(folder: Path) -> Iterator[str]:
    """The options of an etcd that keeps its data in a folder, and need not survive a crash of the machine."""
    yield from (f"--data-dir={folder}", "--unsafe-no-fsync", "--log-level=warn")
    for use in ("listen-client-urls", "advertise-client-urls"):
        yield f"--{use}=http://127.0.0.1:2379"
    yield "--listen-peer-urls=http://127.0.0.1:2380"


def _api_server_options() -> Iterator[str]:
    pki = configuration.pki()
    yield from ("--etcd-servers=http://127.0.0.1:2379", f"--secure-port={layout.API_PORT}")
    yield from (f"--advertise-address={layout.NODE_ADDRESS}", f"--service-cluster-ip-range={layout.SERVICE_ADDRESSES}")
    yield from (f"--tls-cert-file={pki}/server.crt", f"--tls-private-key-file={pki}/server.key")
    yield f"--client-ca-file={pki}/ca.crt"
    yield from (f"--kubelet-client-certificate={pki}/admin.crt", f"--kubelet-client-key={pki}/admin.key")
    yield from (f"--kubelet-certificate-authority={pki}/ca.crt", "--kubelet-preferred-address-types=InternalIP")
    yield "--service-account-issuer=https://kubernetes.default.svc"
    for use in ("key-file", "signing-key-file"):
        yield f"--service-account-{use}={pki}/service-accounts.key"
    # For API servers of extensions, such as KEDA's: by this certificate they know that a request comes from this one.
    yield from (f"--proxy-client-cert-file={pki}/front-proxy.crt", f"--proxy-client-key-file={pki}/front-proxy.key")
    yield from (f"--requestheader-client-ca-file={pki}/front-proxy-ca.crt", "--requestheader-allowed-names=front-proxy")
    yield from ("--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group")
    yield "--requestheader-extra-headers-prefix=X-Remote-Extra-"
    yield from ("--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction")
    yield f"--cert-dir={layout.node_folder() / 'api-server'}"


def _controller_options() -> Iterator[str]:
    pki = configuration.pki()
    yield from (f"--kubeconfig={layout.kubeconfig('controllers')}", "--leader-elect=false")
    yield from ("--use-service-account-credentials", f"--root-ca-file={pki}/ca.crt")
    yield f"--service-account-private-key-file={pki}/service-accounts.key"
    yield from (f"--cluster-signing-cert-file={pki}/ca.crt", f"--cluster-signing-key-file={pki}/ca.key")
    yield f"--cert-dir={layout.node_folder() / 'controllers'}"


def _scheduler_options() -> Iterator[str]:
    yield from (f"--kubeconfig={layout.kubeconfig('scheduler')}", "--leader-elect=false")
    yield f"--cert-dir={layout.node_folder() / 'scheduler'}"


def _router_options() -> Iterator[str]:
    yield from (f"--kubeconfig={layout.kubeconfig('router')}", f"--hostname-override={layout.NODE}")
    yield from ("--run-router=false", "--run-service-proxy=false", "--run-firewall=true")
    yield from (f"--service-cluster-ip-range={layout.SERVICE_ADDRESSES}", "--service-external-ip-range=")
    yield from ("--health-port=0", "--metrics-port=0")


def down() -> None:
    """Stops everything of the node, and restores the machine as it was. Does nothing if nothing is up."""
    if is_up():
        # In order, so that volumes are unmounted and Flink ends as on any other cluster.
        with contextlib.suppress(ClusterError):
            kubectl("delete", "pods", "--all", "--all-namespaces", "--grace-period=1", "--wait=false", seconds=30)
            time.sleep(3)
    for name in ("kubelet", "kube-router", "coredns", "kube-proxy", "kube-scheduler", "kube-controller-manager"):
        processes.stop(name)
    containers.remove_all()
    for name in ("kube-apiserver", "etcd", "containerd"):
        processes.stop(name)
    for left in processes.started_with(str(layout.containerd_socket())):
        processes.end(left, 2.0)
    _unmount()
    network.down()
    cgroups.remove()
    machine.restore_settings()
    for name in _DELETED:
        shutil.rmtree(layout.node_folder() / name, ignore_errors=True)
    for path in layout.node_folder().glob("*"):
        if path.is_socket() or path.suffix == ".kubeconfig":
            path.unlink()


def _unmount() -> None:
    # Buildah leaves the images mounted from which a step has read files.
    folders = (str(layout.node_folder()), str(layout.image_folder()), str(cache_folder("kubernetes", "images")))
    lines = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    for point in sorted((line.split()[1] for line in lines), reverse=True):
        if point.startswith(tuple(f"{folder}/" for folder in folders)):
            run(["umount", "--lazy", point])


def _node_is_ready() -> bool:
    try:
        kubectl("wait", "--for=condition=Ready", f"node/{layout.NODE}", "--timeout=1s", seconds=10)
    except ClusterError:
        return False
    return True


def _wait_for(what: str, ready: Callable[[], bool], program: str) -> None:
    announce(f"Waiting for {what}")
    deadline = time.monotonic() + _SECONDS
    while not ready():
        processes.check(program)
        if time.monotonic() > deadline:
            raise ClusterError(f"{what} did not become ready within {_SECONDS:.0f} s; see {layout.log_folder()}")
        time.sleep(0.5)
