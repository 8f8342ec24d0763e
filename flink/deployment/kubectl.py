"""kubectl, by which all of a cluster is asked and told."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterable
from typing import Any

import yaml

from flink.deployment.errors import DeploymentError

Manifest = dict[str, Any]

FIELD_MANAGER = "beam-serving"
_SECONDS = 120.0
_MINIMUM_KUSTOMIZE = 5


class Kubectl:
    """The kubectl of this machine, at the context that it is set to."""

    def __init__(self) -> None:
        """Raises DeploymentError when there is none, it is too old, or no cluster answers."""
        path = shutil.which("kubectl")
        if path is None:
            raise DeploymentError("kubectl is not on PATH: install it, 1.27 or newer")
        self._path = path
        self._check_version()
        self.context = self._current_context()
        try:
            self.run("get", "--raw=/readyz")
        except DeploymentError as error:
            raise DeploymentError(f"the cluster of context {self.context!r} does not answer: {error}") from error

    def _check_version(self) -> None:
        version = json.loads(self.run("version", "--client", "--output=json")).get("kustomizeVersion", "v0")
        if int(version.removeprefix("v").split(".")[0]) < _MINIMUM_KUSTOMIZE:
            raise DeploymentError(
                f"kubectl carries kustomize {version}, which is too old: install kubectl 1.27 or newer"
            )

    def _current_context(self) -> str:
        try:
            return self.run("config", "current-context").strip()
        except DeploymentError as error:
            raise DeploymentError(
                "kubectl has no context: choose the cluster with `kubectl config use-context NAME`"
            ) from error

    def run(self, *arguments: str, given: str | None = None, seconds: float = _SECONDS) -> str:
        """What kubectl prints; raises DeploymentError with what it says when it fails."""
        try:
            done = subprocess.run(
                [self._path, *arguments], input=given, capture_output=True, text=True, timeout=seconds
            )
        except subprocess.TimeoutExpired as late:
            raise DeploymentError(f"kubectl {arguments[0]} did not end within {seconds:.0f} s") from late
        if done.returncode != 0:
            raise DeploymentError(f"kubectl {arguments[0]}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def get(self, kind: str, name: str, namespace: str) -> Manifest | None:
        """A resource as the cluster has it; None when it is not there."""
        printed = self.run("get", kind, name, f"--namespace={namespace}", "--ignore-not-found", "--output=json")
        return json.loads(printed) if printed.strip() else None

    def custom_kinds(self) -> set[str]:
        """The CRDs that the cluster has, by their names."""
        printed = self.run("get", "customresourcedefinitions", "--output=name")
        return {line.partition("/")[2] for line in printed.split()}

    def apply(self, manifests: Iterable[Manifest]) -> None:
        """Makes the cluster have these; fields that were ours and are gone are taken back."""
        text = yaml.safe_dump_all(manifests)
        self.run("apply", "--server-side", f"--field-manager={FIELD_MANAGER}", "--filename=-", given=text)
