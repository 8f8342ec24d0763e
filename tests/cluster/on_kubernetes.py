"""The project's own deployment on the cluster of this machine, as a test sees it."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import yaml

from flink.cluster import versions
from flink.cluster.kubernetes_client import kubectl
from flink.cluster.platform import kafka, prerequisites
from flink.deployment import overlay
from models.model_topic.publisher import ModelPublisher
from models.records.record_type import Row
from tests.end_to_end.deployment import Deployment, Result

ENVIRONMENT = "local"
IN_NAMESPACE = f"--namespace={prerequisites.NAMESPACE}"
RATE = 100
# The inputs of `save_version_model`.
INPUTS = {"x": ("alcohol",)}


@dataclass
class KubernetesDeployment(Deployment):
    """As `Deployment`, with the topics of the overlay, which are empty, and with the job of a FlinkDeployment."""

    # A test restarts the broker while records are sent.
    FLUSH_SECONDS: ClassVar[float] = 180.0

    def topic(self, kind: str) -> str:
        """The name in the overlay's serving.yaml."""
        return kind

    def make_topic(self, kind: str, partitions: int = 1, **config: str) -> None:
        """Does nothing: `make kubernetes-up` created them."""

    @property
    def group(self) -> str:
        """The consumer group in the overlay's serving.yaml."""
        return "wine-serving"

    @property
    def models(self) -> ModelPublisher:
        """The publisher's side."""
        return ModelPublisher(self.kafka, self.topic("models"))

    def first_scored(self, model: Path, row: Row) -> None:
        """Publishes the first model, and returns once it scores."""
        self.publish("wine", model, INPUTS)
        # Records may be ahead of the model, and on a busy machine for long.
        self.eventually(lambda: self._scores(row), "the first model scores", 240.0)
        require_true_labels(self.results_of(self.send([row] * 50), seconds=60.0))

    def _scores(self, row: Row) -> bool:
        (result,) = self.results_of(self.send([row]), seconds=240.0)
        return result.version is not None

    def wait_for_more_results(self, count: int = 300, seconds: float = 240.0) -> None:
        """Waits until so many more have come."""
        wanted = len(self.results_to_the_end()) + count
        self.eventually(lambda: len(self.results_to_the_end()) >= wanted, f"{count} more results", seconds)

    def wait_for_version(self, version: int, seconds: float = 240.0) -> None:
        """Waits until a version scores."""
        scored = self.latest
        self.eventually(lambda: scored().version == version, f"version {version} scores", seconds)

    def latest(self) -> Result:
        """The result that came last."""
        return self.results_to_the_end()[-1]


def require_true_labels(results: list[Result]) -> None:
    """Each result was computed by the version that it names: the models answer their own version."""
    wrong = [result for result in results if result.version is None or result.values("version") != [result.version]]
    assert not wrong, wrong[:3]


def editable_overlays(folder: Path) -> Path:
    """A copy of flink/kubernetes whose overlays `flink.deployment` uses if its OVERLAYS is set to the returned path."""
    shutil.copytree(versions.FLINK_FOLDER / "kubernetes", folder / "kubernetes")
    return folder / "kubernetes" / "overlays"


def edit_yaml(path: Path, change: Callable[[Any], object]) -> None:
    """Changes a YAML file as a user would."""
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(yaml.safe_dump(content), encoding="utf-8")


def add_serving_option(name: str, value: object) -> None:
    """Changes an option of the pipeline in the overlay."""
    folder = overlay.OVERLAYS / ENVIRONMENT
    base = folder.parent.parent / "base" / "serving.yaml"
    own = folder / "serving.yaml"
    options = yaml.safe_load((own if own.exists() else base).read_text(encoding="utf-8"))
    own.write_text(yaml.safe_dump({**options, name: value}), encoding="utf-8")
    generator = {
        "name": "serving",
        "namespace": prerequisites.NAMESPACE,
        "behavior": "replace",
        "files": ["serving.yaml"],
    }
    edit_yaml(folder / "kustomization.yaml", lambda content: content.update(configMapGenerator=[generator]))


def add_component(name: str) -> None:
    """Adds a component to the overlay, before those that it has."""
    path = overlay.OVERLAYS / ENVIRONMENT / "kustomization.yaml"
    edit_yaml(path, lambda content: content.setdefault("components", []).insert(0, f"../../components/{name}"))


def set_in_overlay(path: str, value: object) -> None:
    """Changes a value of the FlinkDeployment in the overlay, such as /spec/job/parallelism."""

    def change(patches: Any) -> None:
        next(one for one in patches if one["path"] == path)["value"] = value

    edit_yaml(overlay.OVERLAYS / ENVIRONMENT / "small.yaml", change)


def pods(component: str = "") -> list[dict[str, Any]]:
    """The pods of a component; of all if none is given."""
    selector = f"--selector=app=beam-serving{f',component={component}' if component else ''}"
    found: list[dict[str, Any]] = json.loads(kubectl("get", "pods", IN_NAMESPACE, selector, "--output=json"))["items"]
    return [pod for pod in found if not pod["metadata"].get("deletionTimestamp")]


def name_of(component: str) -> str:
    """The name of the only pod of a component."""
    (pod,) = pods(component)
    return str(pod["metadata"]["name"])


def leading_job_manager() -> str:
    """The name of the job manager that leads, by the ConfigMap in which Flink keeps the leaders' addresses."""
    leaders = kubectl("get", "configmap", "beam-serving-cluster-config-map", IN_NAMESPACE, "--output=jsonpath={.data}")
    (leading,) = (pod for pod in pods("jobmanager") if f"{pod['status'].get('podIP')}:" in leaders)
    return str(leading["metadata"]["name"])


def rest(path: str) -> Any:
    """What Flink's REST API answers, through the API server."""
    service = f"/api/v1/namespaces/{prerequisites.NAMESPACE}/services/beam-serving-rest:8081/proxy"
    return json.loads(kubectl("get", f"--raw={service}/{path}"))


def wait_until(holds: Callable[[], bool], what: str, seconds: float = 180.0) -> float:
    """Waits for a condition, and returns after how many seconds it held."""
    began = time.monotonic()
    while not holds():
        assert time.monotonic() - began < seconds, f"{what}: not within {seconds:g} s"
        time.sleep(0.5)
    return time.monotonic() - began


def empty_topics() -> None:
    """Empties all topics, also of committed models."""
    kafka.empty_topics()
