"""What a platform has before the project is deployed: operator, definitions, storage, a broker, Secrets."""

from __future__ import annotations

import os
from pathlib import Path

import yaml

from flink.cluster import engines, layout, versions
from flink.cluster.building import base_images, project_images
from flink.cluster.engines import Engine
from flink.cluster.kubernetes_client import kubectl
from flink.cluster.node import containers
from flink.cluster.platform import kafka
from flink.cluster.platform.definitions import custom_resource_definitions
from runners.local.cache_folder import announce

NAMESPACE = "beam-serving"
_MANIFESTS = Path(__file__).with_name("manifests")
_FLINK_USER = 9999


def load_images() -> None:
    """Loads all images that pods use into the node; raises ClusterError when one is missing."""
    for name in (base_images.PAUSE, base_images.OPERATOR, *project_images.NAMES.values()):
        containers.load(name)


def fetch() -> None:
    """Downloads what is created in the cluster of an engine, and the broker, unless they are in the cache.

    Raises:
      ClusterError: Go or Maven is missing or fails.
      JavaToolError: Java or Maven is missing or fails.
    """
    custom_resource_definitions()
    kafka.fetch()


def apply() -> None:
    """Starts the broker, and creates all that `make deploy-flink ENV=local` needs in the cluster."""
    _apply_definitions()
    _apply("services.yaml")
    _apply("storage.yaml", FOLDER=str(_state_folder()))
    kafka.up()
    _create_namespace_and_secrets()
    _apply_operator()


def apply_in(engine: Engine) -> None:
    """Does the same as `apply` in a cluster of an engine, which has a name service of its own.

    Raises:
      ClusterError: a part cannot be started or created.
    """
    address = engines.machine_address(engine)
    _apply_definitions()
    kubectl("apply", "--filename=-", given=kafka_services(address))
    _apply("storage.yaml", FOLDER=engines.STATE_FOLDER)
    kafka.up(address)
    _create_namespace_and_secrets()
    _apply("engine.yaml", ADDRESS=address)
    _apply_operator()


def kafka_services(address: str) -> str:
    """The manifests of services.yaml that lead to the broker, with another address of this machine."""
    text = (_MANIFESTS / "services.yaml").read_text(encoding="utf-8").replace(layout.HOST_ADDRESS, address)
    ours = [
        one
        for one in yaml.safe_load_all(text)
        if "kafka" in (one["metadata"]["name"], one["metadata"].get("namespace"))
    ]
    return yaml.safe_dump_all(ours)


def _apply_definitions() -> None:
    announce("Creating custom resource definitions, the Flink operator, storage and Secrets")
    for path in custom_resource_definitions():
        # On the server's side, because an annotation of kubectl's would be too large for these.
        kubectl("apply", "--server-side", "--force-conflicts", f"--filename={path}")


def _apply_operator() -> None:
    _apply("operator.yaml", VERSION=versions.FLINK_OPERATOR)
    # Time enough to pull the image, of 600 MB, which only the cluster from packages has already.
    kubectl(
        "rollout", "status", "deployment/flink-operator", "--namespace=flink-operator", "--timeout=300s", seconds=330
    )


def _apply(name: str, **values: str) -> None:
    text = (_MANIFESTS / name).read_text(encoding="utf-8")
    for placeholder, value in values.items():
        text = text.replace(placeholder, value)
    kubectl("apply", "--filename=-", given=text)


def _state_folder() -> Path:
    folder = layout.state_folder()
    folder.mkdir(parents=True, exist_ok=True)
    os.chown(folder, _FLINK_USER, _FLINK_USER)
    return folder


def _create_namespace_and_secrets() -> None:
    namespace = versions.FLINK_FOLDER / "kubernetes" / "base" / "namespace.yaml"
    # By the field manager of `flink.deployment`, which applies the same manifest again.
    kubectl("apply", "--server-side", "--field-manager=beam-serving", f"--filename={namespace}")
    create_kafka_secret()


def create_kafka_secret() -> None:
    """Creates the Secret with the pipeline's client certificate."""
    folder = kafka.certificates()
    files = [f"--from-file={key}={folder / key}" for key in ("ca.crt", "user.crt", "user.key")]
    kubectl("create", "secret", "generic", "kafka-client", f"--namespace={NAMESPACE}", *files)
