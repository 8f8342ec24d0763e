"""What was applied last and what before it, kept in the cluster: so that whoever rolls back needs no other record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import yaml

from flink.deployment.errors import DeploymentError
from flink.deployment.kubectl import Kubectl
from flink.deployment.overlay import Overlay

NAME = "beam-serving-revisions"


@dataclass(frozen=True)
class Revisions:
    """The two last revisions, each the text of its manifests.

    Attributes:
      environment: the overlay that they are of.
      current: what was applied last.
      previous: what was applied before it; empty at first.
      resource_version: of the ConfigMap that was read; with it a write fails when another came between.
    """

    environment: str
    current: str
    previous: str = ""
    resource_version: str = ""

    @staticmethod
    def after(known: Revisions | None, overlay: Overlay) -> Revisions:
        """What is to be kept when an overlay is applied; the same again is no new revision."""
        text = text_of(overlay)
        if known is None:
            return Revisions(overlay.name, text)
        previous = known.previous if text == known.current else known.current
        return Revisions(overlay.name, text, previous, known.resource_version)

    def rolled_back(self) -> Overlay:
        """What the previous revision holds; raises DeploymentError when there is none."""
        if not self.previous:
            raise DeploymentError("there is nothing to roll back to: nothing was upgraded since it was deployed")
        return Overlay(self.environment, tuple(yaml.safe_load_all(self.previous)))


def text_of(overlay: Overlay) -> str:
    """A revision as it is kept. It holds no secret, since manifests only name Secrets."""
    return yaml.safe_dump_all(overlay.manifests)


def read(kubectl: Kubectl, namespace: str) -> Revisions | None:
    """What the cluster keeps; None when nothing was deployed."""
    kept = kubectl.get("configmap", NAME, namespace)
    if kept is None:
        return None
    data = kept["data"]
    version = kept["metadata"]["resourceVersion"]
    return Revisions(data["environment"], data["current"], data.get("previous", ""), version)


def write(kubectl: Kubectl, namespace: str, revisions: Revisions) -> None:
    """Keeps them; raises DeploymentError when somebody else deployed since they were read."""
    metadata: dict[str, Any] = {"name": NAME, "namespace": namespace}
    if revisions.resource_version:
        metadata["resourceVersion"] = revisions.resource_version
    data = {"environment": revisions.environment, "current": revisions.current, "previous": revisions.previous}
    manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
    command = "replace" if revisions.resource_version else "create"
    kubectl.run(command, "--filename=-", given=yaml.safe_dump(manifest))
