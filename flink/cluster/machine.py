"""What this machine must have, and the settings of it that the cluster changes for as long as it is up."""

from __future__ import annotations

import json
import os
import platform
import shutil
from pathlib import Path

from flink.cluster.errors import MissingPartError
from flink.cluster.layout import node_folder

# Each program with Debian's package that has it.
_RUNNING = {
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "conntrack": "conntrack",
    "ethtool": "ethtool",
    "ip": "iproute2",
    "ipset": "ipset",
    "iptables": "iptables",
    "mount": "mount",
    "nft": "nftables",
    "nsenter": "util-linux",
    "sysctl": "procps",
}
_BUILDING = {
    "buildah": "buildah",
    "gcc": "gcc libc6-dev",
    "java": "default-jre-headless",
    "jar": "default-jdk-headless",
    "mmdebstrap": "mmdebstrap",
    "mvn": "maven",
    "runc": "runc",
}
_NETWORK_PLUGINS = Path("/usr/lib/cni")
# The kubelet changes these for the whole machine.
_SETTINGS = ("vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops")


def check_running() -> None:
    """Raises MissingPartError with everything that this machine lacks to run the cluster."""
    missing = _missing(_RUNNING)
    if not (_NETWORK_PLUGINS / "bridge").is_file():
        missing.append("containernetworking-plugins")
    _refuse(missing)


def check_building() -> None:
    """Raises MissingPartError with everything that this machine lacks to build images."""
    _refuse(_missing(_BUILDING))


def _missing(programs: dict[str, str]) -> list[str]:
    return [package for program, package in programs.items() if shutil.which(program) is None]


def _refuse(packages: list[str]) -> None:
    if platform.system() != "Linux" or os.geteuid() != 0:
        raise MissingPartError(
            "a cluster of our own needs Linux and root; otherwise install kind with a container engine "
            "(https://kind.sigs.k8s.io), create a cluster, and see docs/how-to/kubernetes.md"
        )
    if packages:
        names = " ".join(sorted({name for package in packages for name in package.split()}))
        raise MissingPartError(f"packages are missing: apt-get install --no-install-recommends {names}")


def keep_settings() -> None:
    """Writes down the machine's settings that the kubelet changes, unless an earlier start has."""
    kept = _kept_settings()
    if not kept.exists():
        values = {name: Path("/proc/sys", name).read_text(encoding="utf-8").strip() for name in _SETTINGS}
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(values), encoding="utf-8")


def restore_settings() -> None:
    """Sets the machine's settings as they were before the cluster was started."""
    kept = _kept_settings()
    if kept.exists():
        for name, value in json.loads(kept.read_text(encoding="utf-8")).items():
            Path("/proc/sys", name).write_text(value, encoding="utf-8")
        kept.unlink()


def _kept_settings() -> Path:
    return node_folder() / "settings-before.json"
