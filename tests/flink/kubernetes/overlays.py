"""The overlays of flink/kubernetes, rendered, and ways to look into them."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.flink.kubernetes.fetched import kustomize, run

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / "flink" / "kubernetes"
# For trying out on one machine: its broker and its storage are not those of the others.
LOCAL = "local"
NAMES = tuple(sorted({path.parent.name for path in FOLDER.glob("overlays/*/kustomization.yaml")} - {LOCAL}))

Manifest = dict[str, Any]


@cache
def _rendered(name: str) -> list[Manifest]:
    return list(yaml.safe_load_all(run([*kustomize(), str(FOLDER / "overlays" / name)])))


def rendered(name: str) -> list[Manifest]:
    """The manifests of an overlay; a copy, which the caller may change."""
    return copy.deepcopy(_rendered(name))


def every() -> Iterator[tuple[str, Manifest]]:
    """Each manifest of each overlay, the local one included, with `OVERLAY/KIND/NAME`."""
    for name in (*NAMES, LOCAL):
        for manifest in rendered(name):
            yield f"{name}/{manifest['kind']}/{manifest['metadata']['name']}", manifest


def of_kind(name: str, kind: str) -> dict[str, Manifest]:
    """The manifests of a kind in an overlay, by their names."""
    return {one["metadata"]["name"]: one for one in rendered(name) if one["kind"] == kind}


def deployment(name: str) -> Manifest:
    """The spec of an overlay's FlinkDeployment."""
    (found,) = of_kind(name, "FlinkDeployment").values()
    spec: Manifest = found["spec"]
    return spec


def pods(name: str) -> dict[str, Manifest]:
    """The spec of each kind of pod in an overlay, by what makes it; KServe's predictor is one container alone."""
    flink = deployment(name)
    found = {part: flink[part]["podTemplate"]["spec"] for part in ("jobManager", "taskManager")}
    for deployed, manifest in of_kind(name, "Deployment").items():
        found[deployed] = manifest["spec"]["template"]["spec"]
    for job, manifest in of_kind(name, "CronJob").items():
        found[job] = manifest["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    return found


def containers(pod: Manifest) -> dict[str, Manifest]:
    """The containers of a pod's spec by their names, those that run first included."""
    return {one["name"]: one for one in [*pod.get("initContainers", []), *pod["containers"]]}
