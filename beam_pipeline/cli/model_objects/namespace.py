"""The ModelVersion objects of a Kubernetes namespace, by Kubernetes' own client."""

from __future__ import annotations

import datetime
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from beam_pipeline.cli.model_objects.changes import ModelChange, changes_between, with_last_errors
from beam_pipeline.cli.model_objects.model_object import GROUP, KIND, MANAGED, PLURAL, VERSION, ModelObject
from models.errors import KubernetesError, OptionsError
from models.extras import extras_named
from models.text import limit_text

_POD_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_SECONDS = 30.0
_MISSING = 404
# Kubernetes refuses longer messages.
_MESSAGE_LIMIT = 1_000
_INSTALL = "install flink/kubernetes/components/model-status"


class ModelNamespace:
    """Keeps the ModelVersion objects of a namespace current, and reports changes as events. Not thread-safe.

    Args:
      namespace: the namespace; None for that of the pod in which this runs, or else of the kubeconfig's context.
      owner: the name of the Deployment with which Kubernetes deletes the objects; None keeps them.

    Raises:
      OptionsError: no cluster is configured, or no namespace is named.
      MissingExtraError: Kubernetes' client is not installed.
    """

    def __init__(self, namespace: str | None, owner: str | None = None) -> None:
        with extras_named():
            from kubernetes import client, config
        # Read here, because Kubernetes' client reads it only once, when it is imported.
        file = os.environ.get("KUBECONFIG") or None
        try:
            if file is None and "KUBERNETES_SERVICE_HOST" in os.environ:
                config.load_incluster_config()
            else:
                config.load_kube_config(file)
            self.namespace = namespace or _own_namespace(config, file)
        except config.ConfigException as error:
            raise OptionsError(f"no Kubernetes is configured: {error}; set KUBECONFIG") from error
        self._place = {"group": GROUP, "version": VERSION, "namespace": self.namespace, "plural": PLURAL}
        api = client.ApiClient()
        self._custom = client.CustomObjectsApi(api)
        self._core = client.CoreV1Api(api)
        self._apps = client.AppsV1Api(api)
        self._owner = owner
        self._owners: list[dict[str, Any]] = []

    def update(self, objects: Sequence[ModelObject]) -> list[ModelChange]:
        """Makes the objects of the namespace these, and returns the changes that it reported as events.

        Raises:
          KubernetesError: the API server cannot be reached, or refuses a request.
        """
        self._find_owner()
        existing = {one["metadata"]["name"]: one for one in self._list()}
        status = {name: one.get("status") or {} for name, one in existing.items()}
        wanted = with_last_errors(status, objects)
        changes = list(changes_between(status, wanted))
        for one in wanted:
            existing[one.name] = self._write(one, existing.get(one.name))
        for name in existing.keys() - {one.name for one in wanted}:
            self._delete(name)
        for change in changes:
            self._emit(change, existing[change.name])
        return changes

    def _find_owner(self) -> None:
        """Finds the Deployment once; another one of its name would have another pod."""
        if self._owner is None or self._owners:
            return
        with _explained(f"reading deployment {self._owner}", remedy="--owner names an existing Deployment"):
            found = self._apps.read_namespaced_deployment(self._owner, self.namespace, _request_timeout=_SECONDS)
        owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": self._owner, "uid": found.metadata.uid}
        self._owners = [owner]

    def _list(self) -> list[dict[str, Any]]:
        selector = ",".join(f"{name}={value}" for name, value in MANAGED.items())
        with _explained(f"listing {PLURAL}.{GROUP}"):
            found = self._custom.list_namespaced_custom_object(
                **self._place, label_selector=selector, _request_timeout=_SECONDS
            )
        items: list[dict[str, Any]] = found["items"]
        return items

    def _write(self, one: ModelObject, known: Mapping[str, Any] | None) -> dict[str, Any]:
        """Creates or changes an object as far as it differs, and returns it."""
        written = dict(known or {})
        with _explained(f"writing {PLURAL}.{GROUP} {one.name}"):
            if known is None:
                written = self._custom.create_namespaced_custom_object(
                    **self._place, body=one.manifest(self._owners), _request_timeout=_SECONDS
                )
            elif self._differs(one, known):
                patch = {**one.manifest(self._owners), "spec": _patch(known["spec"], one.spec)}
                self._custom.patch_namespaced_custom_object(
                    **self._place, name=one.name, body=patch, _request_timeout=_SECONDS
                )
            status = written.get("status") or {}
            if status != one.status:
                self._custom.patch_namespaced_custom_object_status(
                    **self._place,
                    name=one.name,
                    body={"status": _patch(status, one.status)},
                    _request_timeout=_SECONDS,
                )
        return written

    def _differs(self, one: ModelObject, known: Mapping[str, Any]) -> bool:
        metadata = known["metadata"]
        labelled = one.labels.items() <= metadata.get("labels", {}).items()
        owned = all(owner in metadata.get("ownerReferences", []) for owner in self._owners)
        return bool(known["spec"] != one.spec or not labelled or not owned)

    def _delete(self, name: str) -> None:
        with _explained(f"deleting {PLURAL}.{GROUP} {name}", missing_is_fine=True):
            self._custom.delete_namespaced_custom_object(**self._place, name=name, _request_timeout=_SECONDS)

    def _emit(self, change: ModelChange, written: Mapping[str, Any]) -> None:
        now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        about = {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": KIND,
            "name": change.name,
            "namespace": self.namespace,
            "uid": written["metadata"]["uid"],
        }
        event = {
            "metadata": {"generateName": f"{change.name}."},
            "involvedObject": about,
            "type": change.kind,
            "reason": change.reason,
            "action": change.reason,
            "message": limit_text(change.message, _MESSAGE_LIMIT),
            "source": {"component": "beam-serving"},
            "reportingComponent": "beam-serving.io/model-status",
            "reportingInstance": socket.gethostname(),
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        with _explained(f"reporting an event about {change.name}"):
            self._core.create_namespaced_event(self.namespace, event, _request_timeout=_SECONDS)


def _patch(known: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """A merge patch from one to the other, in which null removes a field."""
    return {**dict.fromkeys(known.keys() - wanted.keys()), **wanted}


def _own_namespace(config: Any, file: str | None) -> str:
    if file is None and _POD_NAMESPACE.is_file():
        return _POD_NAMESPACE.read_text(encoding="utf-8").strip()
    _, active = config.list_kube_config_contexts(file)
    namespace = active["context"].get("namespace")
    if not namespace:
        raise OptionsError("--namespace is missing, and the context of the kubeconfig names none")
    return str(namespace)


@contextmanager
def _explained(what: str, missing_is_fine: bool = False, remedy: str = _INSTALL) -> Iterator[None]:
    """A context in which errors of Kubernetes' client become ours, with a remedy for what is missing.

    Raises:
      KubernetesError: the API server cannot be reached, or refuses a request.
    """
    from kubernetes.client.exceptions import ApiException
    from urllib3.exceptions import HTTPError

    try:
        yield
    except ApiException as error:
        if error.status == _MISSING and missing_is_fine:
            return
        hint = f"; {remedy}" if error.status == _MISSING else ""
        raise KubernetesError(
            f"{what}: {error.status} {error.reason}: {limit_text(str(error.body), 300)}{hint}"
        ) from error
    except HTTPError as error:
        raise KubernetesError(f"{what}: the API server cannot be reached: {error}") from error
