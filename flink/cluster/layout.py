"""Where the cluster is: its names, addresses and folders."""

from __future__ import annotations

from pathlib import Path

from runners.local.cache_folder import cache_folder

NODE = "node"
# The node has a network namespace of its own, which is connected to this machine and to nothing else.
NETWORK_NAMESPACE = "beam-serving"
HOST_INTERFACE = "beam-serving0"
HOST_ADDRESS = "10.100.0.1"
NODE_ADDRESS = "10.100.0.2"
POD_ADDRESSES = "10.244.0.0/24"
SERVICE_ADDRESSES = "10.96.0.0/16"
API_SERVICE_ADDRESS = "10.96.0.1"
DNS_SERVICE_ADDRESS = "10.96.0.10"
API_PORT = 6443
CONTEXT = "beam-serving-local"


def node_folder() -> Path:
    """The folder of the running cluster: certificates, configuration, data and logs. `down` empties it."""
    return cache_folder("kubernetes", "node")


def image_folder() -> Path:
    """Where containerd keeps the loaded images, which outlive the cluster."""
    return cache_folder("kubernetes", "containerd")


def state_folder() -> Path:
    """The disk of the PersistentVolume in which Flink keeps checkpoints, savepoints and job graphs."""
    return node_folder() / "flink-state"


def log_folder() -> Path:
    """The logs of the node's programs."""
    return node_folder() / "logs"


def containerd_socket() -> Path:
    """The socket of the container runtime."""
    return node_folder() / "containerd.sock"


def kubeconfig(user: str = "admin") -> Path:
    """The file with which a user of the cluster reaches the API server."""
    return node_folder() / f"{user}.kubeconfig"
