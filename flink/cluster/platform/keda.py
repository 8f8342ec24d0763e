"""KEDA in the cluster, for the component `autoscaling`, and the definition of what it scales."""

from __future__ import annotations

import re

from flink.cluster import engines, versions
from flink.cluster.building import keda
from flink.cluster.kubernetes_client import kubectl
from flink.cluster.node import containers
from flink.deployment.autoscaling import DEFINITION, scale_patch
from runners.local.cache_folder import announce

NAMESPACE = "keda"
_DEPLOYMENTS = ("keda-operator", "keda-metrics-apiserver")


def install() -> None:
    """Installs KEDA, and makes `scale` of a FlinkDeployment set the job's parallelism. Does no harm if repeated.

    Raises:
      ClusterError: an image cannot be built, or KEDA does not become ready.
    """
    if engines.running() is None:
        keda.build_missing()
        for name in keda.IMAGES:
            containers.load(name)
    announce(f"Installing KEDA {versions.KEDA}")
    # On the server's side, because an annotation of kubectl's would be too large for its definitions.
    kubectl("apply", "--server-side", "--force-conflicts", "--filename=-", given=_manifests())
    kubectl("patch", "customresourcedefinition", DEFINITION, "--type=json", f"--patch={scale_patch()}")
    for name in _DEPLOYMENTS:
        _wait("rollout", "status", f"deployment/{name}", f"--namespace={NAMESPACE}")
    _wait("wait", "--for=condition=Available", "apiservice/v1beta1.external.metrics.k8s.io")


def _wait(*arguments: str) -> None:
    kubectl(*arguments, "--timeout=180s", seconds=200.0)


def _manifests() -> str:
    """KEDA's own manifests without its webhooks, with images of its version in place of the newest."""
    text = kubectl("kustomize", str(keda.sources() / "config" / "minimal"))
    text = re.sub(r"(image: ghcr\.io/kedacore/[\w-]+):\S+", rf"\1:{versions.KEDA}", text)
    return text.replace("imagePullPolicy: Always", "imagePullPolicy: IfNotPresent")
