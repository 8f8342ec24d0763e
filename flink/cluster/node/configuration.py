"""The configuration files of the node's programs."""

from __future__ import annotations

import base64
import json
import resource
from pathlib import Path

import yaml

from flink.cluster import layout
from flink.cluster.building.base_images import PAUSE
from flink.cluster.node.certificates import Authority, write_signing_key

_CLUSTER_DOMAIN = "cluster.local"
# Each user of the API server, with the common name and the group of its certificate.
_USERS = {
    "admin": ("admin", "system:masters"),
    "controllers": ("system:kube-controller-manager", ""),
    "coredns": ("coredns", "system:masters"),
    "kubelet": (f"system:node:{layout.NODE}", "system:nodes"),
    "proxy": ("system:kube-proxy", ""),
    "router": ("kube-router", "system:masters"),
    "scheduler": ("system:kube-scheduler", ""),
}


def pki() -> Path:
    """The folder of the certificates and keys."""
    return layout.node_folder() / "pki"


def write_all() -> None:
    """Writes all configuration, with new certificates."""
    layout.node_folder().mkdir(parents=True, exist_ok=True)
    _write_certificates()
    for user in _USERS:
        _write_kubeconfig(user)
    _write("containerd.toml", _containerd())
    _write("cni/10-pods.conflist", json.dumps(_pod_network()))
    _write("resolv.conf", f"nameserver {layout.HOST_ADDRESS}\n")
    _write("kubelet.yaml", yaml.safe_dump(_kubelet()))
    _write("proxy.yaml", yaml.safe_dump(_proxy()))
    _write("Corefile", _corefile())


def _write(name: str, content: str) -> None:
    path = layout.node_folder() / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")


def _write_certificates() -> None:
    authority = Authority(pki())
    services = (
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        f"kubernetes.default.svc.{_CLUSTER_DOMAIN}",
    )
    addresses = (layout.API_SERVICE_ADDRESS, layout.NODE_ADDRESS, "127.0.0.1")
    authority.issue("server", "kube-apiserver", hosts=(*services, *addresses))
    for user, (name, group) in _USERS.items():
        hosts = (layout.NODE, layout.NODE_ADDRESS) if user == "kubelet" else ()
        authority.issue(user, name, organization=group, hosts=hosts)
    # A separate authority: anyone with a certificate from it can act as any user.
    Authority(pki(), "front-proxy-ca").issue("front-proxy", "front-proxy")
    write_signing_key(pki() / "service-accounts.key")


def _write_kubeconfig(user: str) -> None:
    def encoded(name: str) -> str:
        return base64.b64encode((pki() / name).read_bytes()).decode()

    server = {
        "server": f"https://{layout.NODE_ADDRESS}:{layout.API_PORT}",
        "certificate-authority-data": encoded("ca.crt"),
    }
    keys = {"client-certificate-data": encoded(f"{user}.crt"), "client-key-data": encoded(f"{user}.key")}
    context = {"cluster": layout.CONTEXT, "user": user}
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": layout.CONTEXT, "cluster": server}],
        "users": [{"name": user, "user": keys}],
        "contexts": [{"name": layout.CONTEXT, "context": context}],
        "current-context": layout.CONTEXT,
    }
    path = layout.kubeconfig(user)
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(content), encoding="utf-8")


def _containerd() -> str:
    folder = layout.node_folder()
    cri = 'plugins."io.containerd.grpc.v1.cri"'
    # Without CAP_SYS_RESOURCE, no process may get a lower out-of-memory score than ours. The mounts of the pods'
    # network namespaces are in our folder, so that `down` finds them.
    return f"""\
version = 2
root = "{layout.image_folder()}"
state = "{folder}/containerd"
oom_score = 0
[grpc]
  address = "{layout.containerd_socket()}"
[plugins."io.containerd.internal.v1.opt"]
  path = "{folder}/containerd-opt"
[{cri}]
  sandbox_image = "{PAUSE}"
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  disable_apparmor = true
  [{cri}.cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{folder}/cni"
  [{cri}.containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [{cri}.containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
"""


def _pod_network() -> dict[str, object]:
    addresses = {
        "type": "host-local",
        "ranges": [[{"subnet": layout.POD_ADDRESSES}]],
        "routes": [{"dst": "0.0.0.0/0"}],
        "dataDir": str(layout.node_folder() / "pod-addresses"),
    }
    # Pods share the node's address towards this machine, where no route leads back to theirs.
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "ipMasq": True,
        "hairpinMode": True,
        "ipam": addresses,
    }
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    return {"cniVersion": "0.4.0", "name": "pods", "plugins": [bridge, ports]}


def _kubelet() -> dict[str, object]:
    folder = layout.node_folder()
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(pki() / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(pki() / "kubelet.crt"),
        "tlsPrivateKeyFile": str(pki() / "kubelet.key"),
        "containerRuntimeEndpoint": f"unix://{layout.containerd_socket()}",
        "cgroupDriver": "cgroupfs",
        # The newest Kubernetes still supports cgroup v1, but only with this setting.
        "failCgroupV1": False,
        "clusterDomain": _CLUSTER_DOMAIN,
        "clusterDNS": [layout.DNS_SERVICE_ADDRESS],
        "resolvConf": str(folder / "resolv.conf"),
        "failSwapOn": False,
        "oomScoreAdj": 0,
        "maxOpenFiles": resource.getrlimit(resource.RLIMIT_NOFILE)[1],
        "podLogsDir": str(folder / "pod-logs"),
        "volumePluginDir": str(folder / "volume-plugins"),
        # The machine's disk is shared with everything else on it: only a full disk evicts pods, and images stay.
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
    }


def _proxy() -> dict[str, object]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": str(layout.kubeconfig("proxy"))},
        "mode": "nftables",
        "clusterCIDR": layout.POD_ADDRESSES,
        "hostnameOverride": layout.NODE,
        "oomScoreAdj": 0,
        # These would change connection tracking for the whole machine.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    }


def _corefile() -> str:
    return f"""\
.:53 {{
  errors
  ready
  kubernetes {_CLUSTER_DOMAIN} in-addr.arpa {{
    kubeconfig {layout.kubeconfig("coredns")}
    pods insecure
  }}
  cache 5
}}
"""
