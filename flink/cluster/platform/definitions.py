"""Custom resource definitions of operators, from package registries, kept in our cache folder."""

from __future__ import annotations

import re
import shutil
import tempfile
import zipfile
from pathlib import Path

from flink.cluster import versions
from flink.cluster.building import binaries
from flink.cluster.commands import run
from runners.local.cache_folder import announce, cache_folder, locked

_POD_MONITOR = "monitoring.coreos.com_podmonitors.yaml"


def custom_resource_definitions() -> list[Path]:
    """The definitions that the overlay `local` needs: those of the Flink operator, and the PodMonitor.

    Raises:
      ClusterError: Maven or Go fails to download one that is not in the cache.
    """
    key = f"{versions.FLINK_OPERATOR_DEFINITIONS}-{versions.PROMETHEUS_OPERATOR}"
    folder = cache_folder("kubernetes", "definitions", key)
    if not folder.is_dir():
        with locked(folder.with_name(f"{key}.lock"), "downloading custom resource definitions"):
            if not folder.is_dir():
                _fetch(folder)
    return sorted(folder.iterdir())


def _fetch(folder: Path) -> None:
    announce("Downloading custom resource definitions of the Flink operator and the Prometheus operator")
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        fresh = Path(temporary, "definitions")
        fresh.mkdir()
        _fetch_flink(Path(temporary), fresh)
        _fetch_pod_monitor(fresh)
        fresh.replace(folder)


def _fetch_flink(temporary: Path, folder: Path) -> None:
    name = "flink-kubernetes-operator-api"
    artifact = f"org.apache.flink:{name}:{versions.FLINK_OPERATOR_DEFINITIONS}"
    run(["mvn", "-q", "-B", "dependency:copy", f"-Dartifact={artifact}", f"-DoutputDirectory={temporary}"])
    (jar,) = temporary.glob(f"{name}-*.jar")
    with zipfile.ZipFile(jar) as opened:
        for entry in opened.namelist():
            if re.fullmatch(r"META-INF/fabric8/.*-v1\.yml", entry):
                (folder / Path(entry).name).write_bytes(opened.read(entry))


def _fetch_pod_monitor(folder: Path) -> None:
    module = "github.com/prometheus-operator/prometheus-operator"
    sources = binaries.module_folder(module, versions.PROMETHEUS_OPERATOR)
    shutil.copy(sources / "example" / "prometheus-operator-crd" / _POD_MONITOR, folder)
