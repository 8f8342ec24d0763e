"""The node's network: a namespace that is connected to this machine, and has no route to anything beyond it."""

from __future__ import annotations

from pathlib import Path

from flink.cluster.commands import run
from flink.cluster.errors import ClusterError
from flink.cluster.layout import HOST_ADDRESS, HOST_INTERFACE, NETWORK_NAMESPACE, NODE_ADDRESS, SERVICE_ADDRESSES
from flink.cluster.processes import IN_NETWORK_NAMESPACE

_NAMESPACES = Path("/run/netns")


def up() -> None:
    """Creates the namespace; raises ClusterError when its addresses or names are in use."""
    if f" {HOST_ADDRESS}/" in run(["ip", "-4", "address", "show"]):
        raise ClusterError(f"the address {HOST_ADDRESS} is in use on this machine: free it, or change layout.py")
    _ip("netns", "add", NETWORK_NAMESPACE)
    _ip("link", "add", HOST_INTERFACE, "type", "veth", "peer", "name", "eth0", "netns", NETWORK_NAMESPACE)
    _ip("address", "add", f"{HOST_ADDRESS}/24", "dev", HOST_INTERFACE)
    _ip("link", "set", HOST_INTERFACE, "up")
    _inside("ip", "link", "set", "lo", "up")
    _inside("ip", "address", "add", f"{NODE_ADDRESS}/24", "dev", "eth0")
    _inside("ip", "link", "set", "eth0", "up")
    # Services have no addresses of their own: kube-proxy replaces them, but only for packets that have a route.
    # There is no default route, so nothing in the cluster reaches beyond this machine.
    _inside("ip", "route", "add", SERVICE_ADDRESSES, "dev", "eth0")
    _inside("sysctl", "--quiet", "--write", "net.ipv4.ip_forward=1")


def down() -> None:
    """Deletes the namespace with all its interfaces, and those that pods have left."""
    names = {path.name for path in _NAMESPACES.glob("*")} if _NAMESPACES.is_dir() else set()
    if NETWORK_NAMESPACE in names:
        _ip("netns", "delete", NETWORK_NAMESPACE)
    if f"{HOST_INTERFACE}@" in run(["ip", "link", "show"]):
        _ip("link", "delete", HOST_INTERFACE)
    # `ip netns add` has mounted this folder on itself; it does so again when it must.
    if names <= {NETWORK_NAMESPACE} and f" {_NAMESPACES} " in Path("/proc/self/mounts").read_text(encoding="utf-8"):
        run(["umount", _NAMESPACES])


def _ip(*arguments: str) -> None:
    run(["ip", *arguments])


def _inside(*command: str) -> None:
    run([*IN_NETWORK_NAMESPACE, *command])
