"""The demo's stream and models, scored by the project's own deployment on the cluster of this machine."""

from __future__ import annotations

import os

from rich.console import Console

from beam_pipeline.demo.run import Demo, DemoSettings, work_folder
from beam_pipeline.demo.topics import DemoTopics
from flink.cluster import layout
from flink.cluster.building import binaries
from flink.cluster.kubernetes_client import kubectl
from flink.cluster.platform import kafka, prerequisites
from flink.deployment import commands, revisions
from flink.deployment.kubectl import Kubectl
from models.errors import PipelineFailedError
from models.kafka.client import KafkaSettings
from runners.local.cache_folder import announce

ENVIRONMENT = "local"
_SECONDS = 600.0
_TOPICS = DemoTopics(
    *("records", "models", "results", "dead-letters", "status", "wine-serving"),
    record_partitions=kafka.TOPICS["results"],
)
_STATE = ("get", "flinkdeployment", "beam-serving", f"--namespace={prerequisites.NAMESPACE}")


class _DeployedJob:
    """The job of the deployment, as the demo watches it."""

    def check(self) -> None:
        """Raises PipelineFailedError when the job has failed."""
        state = kubectl(*_STATE, "--output=jsonpath={.status.jobStatus.state}")
        if state in ("FAILED", "CANCELED", "FINISHED"):
            raise PipelineFailedError(f"the job is {state}; see kubectl --namespace {prerequisites.NAMESPACE} get pods")


def use_cluster() -> None:
    """Makes kubectl and the cluster of this machine those of this process."""
    os.environ["PATH"] = f"{binaries.KUBERNETES.file.parent}{os.pathsep}{os.environ['PATH']}"
    os.environ["KUBECONFIG"] = str(layout.kubeconfig())


def run() -> None:
    """Deploys the project to the running cluster and plays the demo there; the deployment stays.

    Raises:
      ClusterError: the broker does not answer.
      DeploymentError: the project cannot be deployed.
      ServingError: something in the demo did not happen as it should.
    """
    use_cluster()
    if revisions.read(Kubectl(), prerequisites.NAMESPACE) is not None:
        announce("Deleting the earlier deployment")
        commands.delete(ENVIRONMENT, _SECONDS, announce)
    # The records of an earlier demo would be counted again.
    kafka.empty_topics()
    commands.deploy(ENVIRONMENT, _SECONDS, announce)
    console = Console()
    settings = DemoSettings(
        bootstrap_servers=kafka.BOOTSTRAP_SERVERS,
        rate=200,
        plain=not console.is_terminal,
        runner="Flink on Kubernetes",
        shares_files=False,
    )
    with work_folder(console) as folder:
        Demo(settings, console, folder).run_with(KafkaSettings(kafka.BOOTSTRAP_SERVERS), _TOPICS, _DeployedJob())
