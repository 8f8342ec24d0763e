"""Access to a cluster by kubectl."""

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
    """The kubectl of this machine, with its current context."""

    def __init__(self) -> None:
        """Raises DeploymentError when kubectl is missing or too old, or when the cluster does not answer."""
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
                f"kubectl contains kustomize {version}, which is too old: install kubectl 1.27 or newer"
            )

    def _current_context(self) -> str:
        try:
            return self.run("config", "current-context").strip()
        except DeploymentError as error:
            raise DeploymentError(
                "kubectl has no context: choose the cluster with `kubectl config use-context NAME`"
            ) from error

    def run(self, *arguments: str, given: str | None = None, seconds: float = _SECONDS) -> str:
        """Runs kubectl and returns its output; raises DeploymentError with its message when it fails.

        Args:
          arguments: the arguments of kubectl.
          given: the text for its standard input.
          seconds: how long it may take.
        """
        try:
            done = subprocess.run(
                [self._path, *arguments], input=given, capture_output=True, text=True, timeout=seconds
            )
        except subprocess.TimeoutExpired as late:
            raise DeploymentError(f"kubectl {arguments[0]} did not finish within {seconds:.0f} s") from late
        if done.returncode != 0:
            raise DeploymentError(f"kubectl {arguments[0]}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def get(self, kind: str, name: str, namespace: str) -> Manifest | None:
        """A resource in the cluster; None if it does not exist."""
        printed = self.run("get", kind, name, f"--namespace={namespace}", "--ignore-not-found", "--output=json")
        return json.loads(printed) if printed.strip() else None

    def items(self, kind: str, namespace: str, selector: str = "") -> list[Manifest]:
        """The resources of a kind in a namespace, all or those with certain labels."""
        chosen = [f"--selector={selector}"] if selector else []
        listed = json.loads(self.run("get", kind, f"--namespace={namespace}", *chosen, "--output=json"))
        found: list[Manifest] = listed["items"]
        return found

    def custom_kinds(self) -> set[str]:
        """The names of the cluster's custom resource definitions."""
        printed = self.run("get", "customresourcedefinitions", "--output=name")
        return {line.partition("/")[2] for line in printed.split()}

    def apply(self, manifests: Iterable[Manifest]) -> None:
        """Applies manifests on the server's side, which also removes fields that we applied before and dropped."""
        text = yaml.safe_dump_all(manifests)
        self.run("apply", "--server-side", f"--field-manager={FIELD_MANAGER}", "--filename=-", given=text)

    def delete(self, kind: str, name: str, namespace: str, seconds: float) -> None:
        """Deletes a resource and waits until it is gone; one that does not exist is no error.

        Raises:
          DeploymentError: it is still there after that time, for example because nothing acts on its finalizer.
        """
        place = [f"--namespace={namespace}"] if namespace else []
        limit = f"--timeout={seconds:.0f}s"
        self.run("delete", kind.lower(), name, *place, "--ignore-not-found", "--wait", limit, seconds=seconds + 30)
