"""ModelVersion objects: a version in the models topic, and what the workers of a deployment report about it."""

from __future__ import annotations

import datetime
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from models.model_topic.publisher import ListedVersion
from models.status.events import ArmShare
from models.status.model_status import ModelStatus
from models.text import clean_text, limit_text

GROUP = "beam-serving.io"
VERSION = "v1alpha1"
KIND = "ModelVersion"
PLURAL = "modelversions"
MANAGED = {"app.kubernetes.io/managed-by": "beam-serving"}
"""The label of the objects that are ours to change and to delete."""

_MODEL_LABEL = f"{GROUP}/model"
# A label's value has at most 63 characters, of which a hash takes nine.
_SLUG_LIMIT = 54


@dataclass(frozen=True)
class ModelObject:
    """A ModelVersion object.

    Attributes:
      name: its name in the namespace.
      labels: its labels.
      spec, status: their fields; without those that have no value.
    """

    name: str
    labels: Mapping[str, str]
    spec: Mapping[str, Any]
    status: Mapping[str, Any]

    def manifest(self, owners: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
        """The object as it is created; its status is written afterwards.

        Args:
          owners: references to the objects with which Kubernetes deletes this one.
        """
        metadata: dict[str, Any] = {"name": self.name, "labels": dict(self.labels)}
        if owners:
            metadata["ownerReferences"] = [dict(one) for one in owners]
        return {"apiVersion": f"{GROUP}/{VERSION}", "kind": KIND, "metadata": metadata, "spec": dict(self.spec)}


def object_of(version: ListedVersion, status: ModelStatus) -> ModelObject:
    """The object of a version and its status in the deployment."""
    descriptor = version.descriptor
    label = slug(descriptor.model_name)
    spec = {
        "model": descriptor.model_name,
        "version": descriptor.model_version,
        "type": descriptor.model_type,
        "dataType": descriptor.data_type,
        "location": descriptor.model_source_location,
        "description": None if descriptor.description is None else limit_text(descriptor.description),
    }
    shown = {
        # Any worker that serves it is what counts, whatever another one has reported later.
        "state": "serving" if status.workers else status.state,
        "answers": answers_of(status.arms),
        "workers": status.workers,
        "records": status.usage,
        "errors": status.errors,
        "p99": f"{status.p99:.3g} ms" if status.p99 else None,
        "since": None if status.since is None else _timestamp(status.since),
        "lastError": None if status.last_error is None else clean_text(status.last_error),
    }
    labels = {**MANAGED, "app.kubernetes.io/part-of": "beam-serving", _MODEL_LABEL: label}
    return ModelObject(f"{label}-{descriptor.model_version}", labels, without_none(spec), without_none(shown))


def answers_of(arms: tuple[ArmShare, ...]) -> str:
    """What a version answers, in a column of a table.

    >>> answers_of((ArmShare("wine", "live", "serve", 0.9), ArmShare("cider", "new", "candidate", 0.05)))
    'wine 90 %, cider 5 % (candidate)'
    """
    return ", ".join(_answer(arm) for arm in arms)


def _answer(arm: ArmShare) -> str:
    role = "" if arm.role == "serve" else f" ({arm.role})"
    condition = "" if arm.condition is None else f" if {arm.condition}"
    return f"{arm.data_type} {100 * arm.share:.3g} %{role}{condition}"


def slug(name: str) -> str:
    """A name as a part of an object's name; a hash keeps those apart that differ in what a slug cannot have.

    >>> slug("wine"), slug("Wine of ours")
    ('wine', 'wine-of-ours-f574d28c')
    """
    made = re.sub("[^a-z0-9]+", "-", name.lower()).strip("-")[:_SLUG_LIMIT].rstrip("-")
    if made == name:
        return made
    digest = hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()[:8]
    return f"{made}-{digest}".lstrip("-")


def without_none(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that have a value."""
    return {name: value for name, value in fields.items() if value is not None}


def _timestamp(milliseconds: int) -> str:
    moment = datetime.datetime.fromtimestamp(milliseconds / 1000, datetime.timezone.utc)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
