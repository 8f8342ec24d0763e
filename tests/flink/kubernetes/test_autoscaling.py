"""The component autoscaling: that it fits the deployment, and that commands leave the parallelism to it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from flink.deployment.__main__ import main
from flink.deployment.autoscaling import DEFINITION, PARALLELISM
from flink.deployment.overlay import PLACEHOLDER
from tests.flink.kubernetes import overlays
from tests.flink.kubernetes.fetched import kustomize, run
from tests.flink.kubernetes.overlays import Manifest
from tests.flink.kubernetes.test_deployment import CRDS, Cluster, install_stand_in

KEDA = "scaledobjects.keda.sh"
KINDS = ("ScaledObject", "TriggerAuthentication")


@pytest.fixture(scope="module")
def manifests(tmp_path_factory: pytest.TempPathFactory) -> list[Manifest]:
    """The overlay aws, with the component as the documentation says."""
    copy = tmp_path_factory.mktemp("repository") / "kubernetes"
    shutil.copytree(overlays.FOLDER, copy)
    path = copy / "overlays" / "aws" / "kustomization.yaml"
    content = yaml.safe_load(path.read_text())
    content["components"].insert(0, "../../components/autoscaling")
    path.write_text(yaml.safe_dump(content))
    text = run([*kustomize(), str(path.parent)]).replace(PLACEHOLDER, "images.test")
    return list(yaml.safe_load_all(text))


def one(manifests: list[Manifest], kind: str, name: str = "") -> Manifest:
    (found,) = (one for one in manifests if one["kind"] == kind and one["metadata"]["name"].startswith(name))
    return found


@pytest.fixture
def cluster(manifests: list[Manifest], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """A cluster with KEDA, and the definition as `python -m flink.cluster autoscaling` leaves it."""
    install_stand_in(tmp_path, monkeypatch)
    made = Cluster(tmp_path / "cluster.json", {"aws": yaml.safe_dump_all(manifests)})
    made.change(crds=(*CRDS, KEDA))
    scale_with(made, PARALLELISM)
    return made


def scale_with(cluster: Cluster, path: str) -> None:
    spec = {"versions": [{"subresources": {"scale": {"specReplicasPath": path}}}]}
    definition = {"kind": "CustomResourceDefinition", "metadata": {"name": DEFINITION}, "spec": spec}
    cluster.change(objects={**cluster.read()["objects"], f"customresourcedefinition//{DEFINITION}": definition})


def scaled_to(cluster: Cluster, parallelism: int) -> None:
    """As if KEDA had scaled the job."""
    content = cluster.read()
    content["objects"]["flinkdeployment/beam-serving/beam-serving"]["spec"]["job"]["parallelism"] = parallelism
    cluster.write(content)


def test_it_scales_the_job_by_the_lag_of_the_group_and_topic_of_the_pipeline(manifests: list[Manifest]) -> None:
    scaled = one(manifests, "ScaledObject")
    job = one(manifests, "FlinkDeployment")
    target = scaled["spec"]["scaleTargetRef"]
    assert target == {"apiVersion": job["apiVersion"], "kind": job["kind"], "name": job["metadata"]["name"]}
    (trigger,) = scaled["spec"]["triggers"]
    serving = yaml.safe_load(one(manifests, "ConfigMap", "serving")["data"]["serving.yaml"])
    lag = trigger["metadata"]
    assert (lag["bootstrapServers"], lag["topic"], lag["consumerGroup"]) == (
        serving["bootstrap-servers"],
        serving["records-topic"],
        serving["group"],
    )
    topics = list(yaml.safe_load_all((overlays.FOLDER / "kafka" / "topics.yaml").read_text()))
    (records,) = (topic for topic in topics if topic["metadata"]["name"] == "records")
    assert scaled["spec"]["maxReplicaCount"] <= records["spec"]["partitions"]


def test_it_uses_the_certificate_of_the_pipeline(manifests: list[Manifest]) -> None:
    (trigger,) = one(manifests, "ScaledObject")["spec"]["triggers"]
    authentication = one(manifests, "TriggerAuthentication", trigger["authenticationRef"]["name"])
    serving = yaml.safe_load(one(manifests, "ConfigMap", "serving")["data"]["serving.yaml"])
    files = {Path(path).name for key, path in serving["kafka-config"].items() if key.endswith("location")}
    assert {part["key"] for part in authentication["spec"]["secretTargetRef"]} == files
    assert authentication["metadata"]["namespace"] == "beam-serving"


def test_an_upgrade_leaves_the_parallelism_that_keda_has_set(cluster: Cluster) -> None:
    assert main(["deploy", "aws"]) == 0
    assert cluster.job()["parallelism"] == 2
    scaled_to(cluster, 4)
    cluster.change_parallelism("aws", 1)  # something in the overlay has changed
    assert main(["upgrade", "aws"]) == 0
    assert cluster.job()["parallelism"] == 4
    assert main(["rollback", "aws"]) == 0
    assert cluster.job()["parallelism"] == 4


def test_without_the_component_the_job_is_not_scaled_any_more(cluster: Cluster) -> None:
    main(["deploy", "aws"])
    scaled_to(cluster, 4)
    content = cluster.read()
    rest = [one for one in yaml.safe_load_all(content["rendered"]["aws"]) if one["kind"] not in KINDS]
    cluster.change(rendered={"aws": yaml.safe_dump_all(rest)})
    assert main(["upgrade", "aws"]) == 0
    assert cluster.job()["parallelism"] == 2
    assert not [name for name in cluster.read()["objects"] if name.startswith("scaledobject/")]
    assert main(["rollback", "aws"]) == 0
    assert [name for name in cluster.read()["objects"] if name.startswith("scaledobject/")]


def test_delete_ends_what_was_applied_whatever_the_overlay_has_become(cluster: Cluster) -> None:
    main(["deploy", "aws"])
    rest = [one for one in yaml.safe_load_all(cluster.read()["rendered"]["aws"]) if one["kind"] not in KINDS]
    cluster.change(rendered={"aws": yaml.safe_dump_all(rest)})
    assert main(["delete", "aws"]) == 0
    assert not [name for name in cluster.read()["objects"] if name.startswith("scaledobject/")]


def test_without_keda_it_is_not_deployed(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    cluster.change(crds=CRDS)
    assert main(["deploy", "aws"]) == 1
    assert f"{KEDA}: install KEDA" in capsys.readouterr().err


def test_the_operators_own_definition_is_refused_with_the_command_that_changes_it(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    scale_with(cluster, ".spec.taskManager.replicas")
    assert main(["deploy", "aws"]) == 1
    assert f"kubectl patch customresourcedefinition {DEFINITION} --type=json" in capsys.readouterr().err
