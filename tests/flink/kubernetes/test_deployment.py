"""Deploying, upgrading and rolling back, by the real program against a stand-in for kubectl and the operator."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from flink.deployment import readiness
from flink.deployment.__main__ import main
from flink.deployment.overlay import PLACEHOLDER
from tests.flink.kubernetes import overlays

STAND_IN = Path(__file__).with_name("kubectl_stand_in.py")
RUNS = {"lifecycleState": "STABLE", "job": "RUNNING"}
FAILS = {"lifecycleState": "FAILED", "job": "FAILED", "error": "ImagePullBackOff"}
STATE_KEYS = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
CRDS = (
    "flinkdeployments.flink.apache.org",
    "flinksessionjobs.flink.apache.org",
    "kafkatopics.kafka.strimzi.io",
    "kafkausers.kafka.strimzi.io",
    "podmonitors.monitoring.coreos.com",
    "inferenceservices.serving.kserve.io",
)


def secret(name: str, keys: dict[str, str]) -> dict[str, Any]:
    return {"kind": "Secret", "metadata": {"name": name, "resourceVersion": "1", "generation": 1}, "data": keys}


def task_manager(ready: bool = True, **status: Any) -> dict[str, Any]:
    """A pod as Kubernetes reports it."""
    condition = {"type": "Ready", "status": "True" if ready else "False"}
    metadata = {"name": "beam-serving-taskmanager-1-1", "labels": {"component": "taskmanager"}}
    return {"metadata": metadata, "status": {"conditions": [condition], **status}}


class Cluster:
    """The stand-in's file."""

    def __init__(self, path: Path, overlays: dict[str, str]) -> None:
        self._path = path
        secrets = [secret("kafka-client", {}), secret("kafka-publisher", {}), secret("object-storage", STATE_KEYS)]
        self.write(
            {
                "kustomize": "v5.5.0",
                "context": "test",
                "ready": "ok",
                "needs": "ok",
                "operator": "1.13",
                "crds": CRDS,
                "outcome": RUNS,
                "listed": {"pods": [task_manager() for _ in range(8)]},
                "objects": {f"secret/beam-serving/{one['metadata']['name']}": one for one in secrets},
                "rendered": overlays,
            }
        )

    def write(self, content: dict[str, Any]) -> None:
        self._path.write_text(json.dumps(content))

    def read(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self._path.read_text())
        return content

    def change(self, **values: object) -> None:
        self.write({**self.read(), **values})

    def change_parallelism(self, name: str, parallelism: int) -> None:
        """As if the overlay's files were edited."""
        manifests = list(yaml.safe_load_all(self.read()["rendered"][name]))
        for manifest in manifests:
            if "job" in manifest.get("spec", {}):
                manifest["spec"]["job"]["parallelism"] = parallelism
        self.change(rendered={**self.read()["rendered"], name: yaml.safe_dump_all(manifests)})

    def job(self, kind: str = "flinkdeployment") -> dict[str, Any]:
        spec: dict[str, Any] = self.read()["objects"][f"{kind}/beam-serving/beam-serving"]["spec"]["job"]
        return spec

    def fail_job(self) -> None:
        content = self.read()
        content["objects"]["flinkdeployment/beam-serving/beam-serving"]["status"]["jobStatus"]["state"] = "FAILED"
        self.write(content)

    def calls(self) -> list[str]:
        return self._path.with_suffix(".calls").read_text().splitlines()


def rendered(name: str) -> str:
    return yaml.safe_dump_all(overlays.rendered(name)).replace(PLACEHOLDER, "images.test")


def install_stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts the stand-in, with its file cluster.json in this folder, in the place of kubectl."""
    program = tmp_path / "bin" / "kubectl"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{STAND_IN}" "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}/usr/bin{os.pathsep}/bin")
    monkeypatch.setenv("CLUSTER", str(tmp_path / "cluster.json"))
    monkeypatch.setattr(readiness, "POLL_SECONDS", 0.01)


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    every = {name: rendered(name) for name in overlays.NAMES}  # by the real one, before it is hidden
    install_stand_in(tmp_path, monkeypatch)
    return Cluster(tmp_path / "cluster.json", every)


# --- What goes well


def test_deploy_brings_what_flink_needs_before_flink(cluster: Cluster) -> None:
    assert main(["deploy", "aws"]) == 0
    calls = cluster.calls()
    applied = [number for number, call in enumerate(calls) if call.startswith("apply")]
    topics = [number for number, call in enumerate(calls) if call.startswith("wait") and "kafkatopic/models" in call]
    assert len(applied) == 2
    assert applied[0] < topics[0] < applied[1]
    assert cluster.job()["parallelism"] == 2


def test_upgrade_takes_a_savepoint_and_rollback_goes_back(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    main(["deploy", "aws"])
    cluster.change_parallelism("aws", 4)
    assert main(["upgrade", "aws"]) == 0
    assert cluster.job()["parallelism"] == 4
    assert "s3://beam-serving/savepoints/2" in capsys.readouterr().out
    assert main(["rollback", "aws"]) == 0
    assert cluster.job()["parallelism"] == 2
    assert "initialSavepointPath" not in cluster.job()
    assert main(["rollback", "aws"]) == 0
    assert cluster.job()["parallelism"] == 4


def test_an_operator_that_names_no_observed_generation_is_understood(cluster: Cluster) -> None:
    cluster.change(operator="1.7")
    assert main(["deploy", "aws", "--timeout", "5"]) == 0
    cluster.change_parallelism("aws", 4)
    assert main(["upgrade", "aws", "--timeout", "5"]) == 0
    assert cluster.job()["parallelism"] == 4


@pytest.mark.parametrize(
    "status",
    [
        {},
        {"reconciliationStatus": None},
        {"reconciliationStatus": {"lastReconciledSpec": "no JSON"}},
        {"reconciliationStatus": {"lastReconciledSpec": "[]"}},
        {"reconciliationStatus": {"lastReconciledSpec": '{"resource_metadata": {"apiVersion": "v1"}}'}},
    ],
)
def test_a_status_that_names_no_generation_is_about_none(status: dict[str, Any]) -> None:
    live = {"metadata": {"generation": 1}, "status": {**status, "lifecycleState": "STABLE"}}
    assert readiness._state(live) == ""


@pytest.mark.parametrize(
    ("status", "savepoint"),
    [
        ({"upgradeSavepointPath": "s3://bucket/one"}, "s3://bucket/one"),
        ({"upgradeSavepointPath": "KUBERNETES_OPERATOR_LAST_STATE"}, ""),
        # As operator 1.7 reports it.
        ({"savepointInfo": {"lastSavepoint": {"location": "file:/state/one"}}}, "file:/state/one"),
        ({"savepointInfo": {"lastSavepoint": None}}, ""),
        ({}, ""),
    ],
)
def test_the_savepoint_of_an_upgrade(status: dict[str, Any], savepoint: str) -> None:
    assert readiness.last_savepoint({"status": {"jobStatus": status}}) == savepoint


@pytest.mark.parametrize("name", ["aws", "session"])
def test_delete_ends_the_job_before_what_it_needs_and_leaves_what_holds_data(cluster: Cluster, name: str) -> None:
    main(["deploy", name])
    assert main(["delete", name]) == 0
    deleted = [call.split()[1] for call in cluster.calls() if call.startswith("delete")]
    flink = [place for place, kind in enumerate(deleted) if kind.startswith("flink")]
    assert flink == list(range(len(flink)))
    if name == "session":
        assert deleted[:2] == ["flinksessionjob", "flinkdeployment"]
    assert {one["kind"] for one in cluster.read()["objects"].values()} <= {
        "Namespace",
        "PersistentVolumeClaim",
        "CustomResourceDefinition",
        "Secret",
        "KafkaTopic",
        "KafkaUser",
    }
    assert main(["delete", name]) == 1
    assert main(["deploy", name]) == 0


def test_without_an_operator_a_deletion_says_what_it_waits_for_and_nothing_else_is_deleted(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["deploy", "aws"])
    before = set(cluster.read()["objects"])
    cluster.change(operator="")
    assert main(["delete", "aws", "--timeout", "1"]) == 1
    assert "check that it runs and watches the namespace beam-serving" in capsys.readouterr().err
    assert set(cluster.read()["objects"]) == before
    assert main(["deploy", "aws"]) == 1
    assert "is still being deleted" in capsys.readouterr().err


def test_a_session_job_is_upgraded_and_rolled_back_too(cluster: Cluster) -> None:
    assert main(["deploy", "session"]) == 0
    cluster.change_parallelism("session", 3)
    assert main(["upgrade", "session"]) == 0
    assert cluster.job("flinksessionjob")["parallelism"] == 3
    assert main(["rollback", "session"]) == 0
    assert cluster.job("flinksessionjob")["parallelism"] == 2
    assert any("rollout status deployment/pipeline" in call for call in cluster.calls())


def test_a_failed_upgrade_is_reported_and_rolled_back_from_its_savepoint(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["deploy", "aws"])
    cluster.change_parallelism("aws", 4)
    cluster.change(outcome=FAILS)
    assert main(["upgrade", "aws"]) == 1
    assert "FAILED, job FAILED; ImagePullBackOff" in capsys.readouterr().err
    cluster.change(outcome=RUNS)
    assert main(["rollback", "aws"]) == 0
    job = cluster.job()
    assert job["parallelism"] == 2
    assert job["initialSavepointPath"] == "s3://beam-serving/savepoints/2"
    assert job["savepointRedeployNonce"] > 0


def test_what_failed_when_it_was_deployed_can_be_deployed_again(cluster: Cluster) -> None:
    cluster.change(outcome=FAILS)
    assert main(["deploy", "aws"]) == 1
    cluster.change_parallelism("aws", 1)
    cluster.change(outcome=RUNS)
    assert main(["deploy", "aws"]) == 0
    assert cluster.job()["parallelism"] == 1


def test_an_upgrade_without_a_change_changes_nothing(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    main(["deploy", "aws"])
    before = cluster.read()["objects"]
    assert main(["upgrade", "aws"]) == 0
    assert "Nothing to upgrade" in capsys.readouterr().out
    assert cluster.read()["objects"] == before


# --- What is refused, and how it is reported


def error_of(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    capsys.readouterr()
    assert main(list(words)) != 0
    return capsys.readouterr().err


def test_an_unknown_environment_is_reported_with_those_there_are(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in ("deploy", "upgrade", "rollback"):
        assert (
            "overlay 'moon' does not exist: choose one with ENV=NAME; the environments are aws, google-cloud"
            in error_of(capsys, command, "moon")
        )
        assert "no environment was given" in error_of(capsys, command)
    assert main(["deploy", "moon"]) == 2


def test_without_kubectl(cluster: Cluster, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert "kubectl is not on PATH: install it" in error_of(capsys, "deploy", "aws")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kustomize": "v4.5.7"}, "too old: install kubectl 1.27"),
        ({"context": ""}, "no context: choose the cluster with `kubectl config use-context NAME`"),
        ({"ready": ""}, "the cluster of context 'test' does not answer: .*Unable to connect"),
        ({"crds": CRDS[2:]}, "flinkdeployments.flink.apache.org: install the Flink Kubernetes Operator"),
        ({"crds": CRDS[:-1]}, "inferenceservices.serving.kserve.io: install KServe, or remove"),
        ({"objects": {}}, "the Secret kafka-client in namespace beam-serving"),
        ({"needs": ""}, "timed out waiting"),
    ],
)
def test_what_a_cluster_lacks_is_reported_before_flink_is_touched(
    cluster: Cluster, capsys: pytest.CaptureFixture[str], change: dict[str, Any], message: str
) -> None:
    cluster.change(**change)
    assert re.search(message, error_of(capsys, "deploy", "aws"))
    assert "flinkdeployment/beam-serving/beam-serving" not in cluster.read()["objects"]


def test_a_secret_without_a_key_is_reported(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    objects = cluster.read()["objects"]
    objects["secret/beam-serving/object-storage"]["data"].pop("AWS_SECRET_ACCESS_KEY")
    cluster.change(objects=objects)
    assert "the key AWS_SECRET_ACCESS_KEY of the Secret object-storage" in error_of(capsys, "deploy", "aws")


def test_an_overlay_that_still_names_an_example_is_not_deployed(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.change(rendered={"aws": yaml.safe_dump_all(overlays.rendered("aws"))})
    assert f"still contains {PLACEHOLDER}: set the location of your images" in error_of(capsys, "deploy", "aws")


def test_what_is_not_deployed_is_neither_upgraded_nor_rolled_back(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in ("upgrade", "rollback"):
        assert "nothing is deployed in namespace beam-serving; run make deploy-flink ENV=aws" in error_of(
            capsys, command, "aws"
        )
    main(["deploy", "aws"])
    assert "nothing to roll back to" in error_of(capsys, "rollback", "aws")
    assert "is already running; to upgrade it, run make upgrade-flink ENV=aws" in error_of(capsys, "deploy", "aws")
    for command in ("deploy", "upgrade", "rollback"):
        assert "contains the environment 'aws', not 'session'" in error_of(capsys, command, "session")


def test_a_job_that_does_not_run_is_not_upgraded(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    main(["deploy", "aws"])
    cluster.change_parallelism("aws", 4)
    cluster.fail_job()
    assert "the job is FAILED, and a savepoint needs a running job" in error_of(capsys, "upgrade", "aws")
    assert cluster.job()["parallelism"] == 2


def test_without_a_savepoint_a_job_that_does_not_run_is_not_started_anew(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["deploy", "aws"])
    cluster.change_parallelism("aws", 4)
    cluster.fail_job()
    main(["deploy", "aws"])  # goes on from a checkpoint
    cluster.fail_job()
    assert "has no savepoint" in error_of(capsys, "rollback", "aws")
    assert cluster.job()["parallelism"] == 4


def test_an_operator_that_does_nothing_is_waited_for_only_so_long(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.change(outcome={"lifecycleState": "DEPLOYED", "job": "RESTARTING"})
    assert "DEPLOYED, job RESTARTING" in error_of(capsys, "deploy", "aws", "--timeout", "5")


def test_make_passes_the_environment_on() -> None:
    for target, command in (("deploy-flink", "deploy"), ("upgrade-flink", "upgrade"), ("rollback-flink", "rollback")):
        make = ["make", "--dry-run", target, "ENV=moon"]
        done = subprocess.run(make, cwd=overlays.ROOT, capture_output=True, text=True, timeout=60)
        assert f"-m flink.deployment {command} moon" in done.stdout


# --- Pods that do not start


def waiting(reason: str, message: str = "", ended: str = "") -> dict[str, Any]:
    """The status of a container that waits, after one that ended if that said something."""
    last = {"terminated": {"exitCode": 1, "message": ended}} if ended else {}
    return {"name": "make-job", "state": {"waiting": {"reason": reason, "message": message}}, "lastState": last}


@pytest.mark.parametrize(
    ("listed", "reason"),
    [
        (
            {"pods": [task_manager(False, initContainerStatuses=[waiting("ErrImagePull", "no such image")])]},
            "container make-job: ErrImagePull: no such image",
        ),
        (
            {"pods": [task_manager(False, initContainerStatuses=[waiting("CrashLoopBackOff", ended="no broker")])]},
            "container make-job: it ended with exit status 1: no broker",
        ),
        (
            {
                "deployments": [
                    {
                        "metadata": {"name": "beam-serving"},
                        "status": {
                            "conditions": [{"type": "ReplicaFailure", "status": "True", "message": "exceeded quota"}]
                        },
                    }
                ]
            },
            "pods of beam-serving cannot be created: exceeded quota",
        ),
        (
            {
                "pods": [{"metadata": {"name": "one", "labels": {"component": "jobmanager"}}}],
                "resourcequotas": [
                    {"metadata": {"name": "small"}, "status": {"hard": {"pods": "1"}, "used": {"pods": "1"}}}
                ],
            },
            "no task manager was created; the ResourceQuota small has used pods 1 of 1",
        ),
    ],
)
def test_a_pod_that_cannot_start_is_reported_although_the_operator_is_content(
    cluster: Cluster,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    listed: dict[str, Any],
    reason: str,
) -> None:
    monkeypatch.setattr(readiness, "PATIENCE_SECONDS", 0.5)
    cluster.change(listed=listed)
    assert main(["deploy", "aws"]) == 1
    assert reason in capsys.readouterr().err


def test_a_pod_that_is_still_being_created_is_waited_for(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    starts = task_manager(False, containerStatuses=[waiting("ContainerCreating")])
    cluster.change(listed={"pods": [task_manager(), starts]})
    assert main(["deploy", "aws", "--timeout", "5"]) == 1
    assert "STABLE, job RUNNING" in capsys.readouterr().err
