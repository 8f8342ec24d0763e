"""A deployment whose parallelism follows its backlog: KEDA sets it, so what is applied must not set it back."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator

from flink.deployment.kubectl import Kubectl, Manifest
from flink.deployment.overlay import Overlay

DEFINITION = "flinkdeployments.flink.apache.org"
# The operator's definition has the number of task managers there, which Flink itself decides in native mode: it starts
# as many as the parallelism needs.
PARALLELISM = ".spec.job.parallelism"
_SCALE_PATH = "/spec/versions/0/subresources/scale/specReplicasPath"


def is_scaled(overlay: Overlay) -> bool:
    """Whether a ScaledObject of the overlay sets the parallelism of its job."""
    job = (overlay.job["kind"], overlay.job["metadata"]["name"])
    targets = [one["spec"]["scaleTargetRef"] for one in overlay.manifests if one["kind"] == "ScaledObject"]
    return job in [(target.get("kind", "Deployment"), target["name"]) for target in targets]


def missing_scale_path(kubectl: Kubectl, overlay: Overlay) -> Iterator[str]:
    """What the cluster lacks for the overlay's ScaledObject to have an effect, with the remedy; else nothing."""
    definition = kubectl.get("customresourcedefinition", DEFINITION, "") if is_scaled(overlay) else None
    if definition is None:
        return
    scale = definition["spec"]["versions"][0].get("subresources", {}).get("scale", {})
    if scale.get("specReplicasPath") != PARALLELISM:
        yield (
            f"{PARALLELISM} as what `scale` of a FlinkDeployment sets: run kubectl patch customresourcedefinition "
            f"{DEFINITION} --type=json --patch='{scale_patch()}'"
        )


def scale_patch() -> str:
    """The JSON patch of the operator's definition that makes `scale` of a FlinkDeployment set the parallelism."""
    return json.dumps([{"op": "replace", "path": _SCALE_PATH, "value": PARALLELISM}])


def with_live_parallelism(overlay: Overlay, live: Manifest | None) -> Overlay:
    """The overlay with the parallelism that the job has in the cluster, if a ScaledObject sets it; else as it is."""
    parallelism = (live or {}).get("spec", {}).get("job", {}).get("parallelism")
    if parallelism is None or not is_scaled(overlay):
        return overlay
    scaled = Overlay(overlay.name, copy.deepcopy(list(overlay.manifests)))
    scaled.job["spec"]["job"]["parallelism"] = parallelism
    return scaled
