"""The last two applied revisions, kept in the cluster so that a rollback needs no other record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import yaml

from flink.deployment.errors import DeploymentError
from flink.deployment.kubectl import Kubectl, Manifest
from flink.deployment.overlay import Overlay

NAME = "beam-serving-revisions"


@dataclass(frozen=True)
class Revisions:
    """The last two revisions, each as the text of its manifests.

    Attributes:
      environment: the name of the overlay.
      current: the revision that was applied last.
      previous: the revision before it; empty after the first deployment.
      resource_version: the version of the ConfigMap that was read, which makes a write fail after a concurrent one.
    """

    environment: str
    current: str
    previous: str = ""
    resource_version: str = ""

    @staticmethod
    def after(known: Revisions | None, overlay: Overlay) -> Revisions:
        """The revisions after an overlay is applied; applying the same one again adds no revision."""
        text = text_of(overlay)
        if known is None:
            return Revisions(overlay.name, text)
        previous = known.previous if text == known.current else known.current
        return Revisions(overlay.name, text, previous, known.resource_version)

    def applied(self) -> Overlay:
        """The overlay as it was applied last."""
        return Overlay(self.environment, tuple(yaml.safe_load_all(self.current)))

    def dropped(self) -> list[Manifest]:
        """The manifests of the previous revision whose objects the current one no longer has."""
        kept = {_identity(one) for one in yaml.safe_load_all(self.current)}
        return [one for one in yaml.safe_load_all(self.previous) if _identity(one) not in kept]

    def rolled_back(self) -> Overlay:
        """The overlay of the previous revision; raises DeploymentError when there is none."""
        if not self.previous:
            raise DeploymentError("there is nothing to roll back to: there was no upgrade since the deployment")
        return Overlay(self.environment, tuple(yaml.safe_load_all(self.previous)))


def _identity(manifest: Manifest) -> tuple[str, str, str]:
    metadata = manifest["metadata"]
    return manifest["kind"], metadata.get("namespace", ""), metadata["name"]


def text_of(overlay: Overlay) -> str:
    """A revision as text. It contains no secrets, because manifests only refer to Secrets by name."""
    return yaml.safe_dump_all(overlay.manifests)


def read(kubectl: Kubectl, namespace: str) -> Revisions | None:
    """Reads the revisions from the cluster; None if nothing was deployed."""
    kept = kubectl.get("configmap", NAME, namespace)
    if kept is None:
        return None
    data = kept["data"]
    version = kept["metadata"]["resourceVersion"]
    return Revisions(data["environment"], data["current"], data.get("previous", ""), version)


def write(kubectl: Kubectl, namespace: str, revisions: Revisions) -> None:
    """Writes the revisions to the cluster; raises DeploymentError if they were changed since they were read."""
    metadata: dict[str, Any] = {"name": NAME, "namespace": namespace}
    if revisions.resource_version:
        metadata["resourceVersion"] = revisions.resource_version
    data = {"environment": revisions.environment, "current": revisions.current, "previous": revisions.previous}
    manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
    command = "replace" if revisions.resource_version else "create"
    kubectl.run(command, "--filename=-", given=yaml.safe_dump(manifest))
