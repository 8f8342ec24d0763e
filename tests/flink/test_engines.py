"""Clusters in a container engine: which is chosen, and each command, run with recorded programs.

No engine runs in tests, so none shows that a command has the effect that it should have. kind was run by hand.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from flink.cluster import __main__ as command_line
from flink.cluster import engines, layout
from flink.cluster.building import project_images
from flink.cluster.errors import ClusterError, MissingPartError
from flink.cluster.node import single_node
from flink.cluster.platform import kafka, prerequisites

GATEWAY = "172.19.0.1"
# As Docker reports the node of kind, but for what is of no use here.
NETWORKS = json.dumps({"kind": {"Gateway": GATEWAY, "IPAddress": "172.19.0.2", "IPv6Gateway": "fc00:f853:ccd:e793::1"}})
FLINK, WORKER = project_images.NAMES["flink"], project_images.NAMES["worker"]


class Machine:
    """A PATH with nothing on it but the given programs, each of which records how it was called."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.bin = folder / "bin"
        self.bin.mkdir()

    def install(self, name: str, script: str = "") -> None:
        program = self.bin / name
        settings = "KUBECONFIG=$KUBECONFIG${DOCKER_BUILDKIT:+ DOCKER_BUILDKIT=$DOCKER_BUILDKIT}"
        program.write_text(f'#!/bin/sh\necho "{name} $* {settings}" >> {self._folder}/calls\n{script}\n')
        program.chmod(0o755)

    def calls(self, program: str) -> list[str]:
        path = self._folder / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line for line in lines if line.startswith(f"{program} ")]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine(tmp_path)
    monkeypatch.setenv("PATH", str(made.bin))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("KUBECONFIG", "DOCKER_BUILDKIT"):
        monkeypatch.delenv(name, raising=False)
    return made


def install_docker(machine: Machine) -> None:
    machine.install("docker", f"[ \"$1\" = container ] && printf '%s' '{NETWORKS}'; exit 0")
    machine.install("kubectl")


def test_without_an_engine_the_cluster_is_built_from_packages(machine: Machine) -> None:
    assert engines.choose() is None
    install_docker(machine)
    assert engines.choose() is None


@pytest.mark.parametrize("name", ["kind", "k3d", "minikube"])
def test_an_engine_that_the_user_has_is_used(machine: Machine, name: str) -> None:
    machine.install(name)
    assert engines.choose() is None  # no Docker
    install_docker(machine)
    chosen = engines.choose()
    assert chosen is not None
    assert chosen.name == name
    assert engines.choose("packages") is None
    machine.install("docker", "echo 'Cannot connect to the Docker daemon' >&2; exit 1")
    assert engines.choose() is None
    with pytest.raises(MissingPartError, match="Cannot connect to the Docker daemon"):
        engines.choose(name)


def test_the_order_is_fixed_and_a_wish_takes_precedence(machine: Machine) -> None:
    install_docker(machine)
    for name in ("minikube", "k3d", "kind"):
        machine.install(name)
        chosen = engines.choose()
        assert chosen is not None
        assert chosen.name == name
    chosen = engines.choose("minikube")
    assert chosen is not None
    assert chosen.name == "minikube"


def test_a_wanted_engine_that_is_missing_is_named(machine: Machine) -> None:
    install_docker(machine)
    with pytest.raises(MissingPartError, match="kind is not on PATH"):
        engines.choose("kind")


COMMANDS = {
    "kind": [
        "create cluster --name beam-serving --wait 180s",
        f"load docker-image --name beam-serving {FLINK}",
        f"load docker-image --name beam-serving {WORKER}",
        "delete cluster --name beam-serving",
    ],
    "k3d": [
        "cluster create beam-serving --wait --timeout 180s --k3s-arg --disable=traefik@server:0",
        f"image import --cluster beam-serving {FLINK}",
        f"image import --cluster beam-serving {WORKER}",
        "cluster delete beam-serving",
    ],
    "minikube": [
        "start --profile beam-serving --driver docker --cni calico --wait all",
        f"image load --profile beam-serving {FLINK}",
        f"image load --profile beam-serving {WORKER}",
        "delete --profile beam-serving",
    ],
}
NODES = {"kind": "beam-serving-control-plane", "k3d": "k3d-beam-serving-server-0", "minikube": "beam-serving"}


@pytest.mark.parametrize("name", COMMANDS)
def test_up_and_down_call_the_engine_and_leave_the_users_kubeconfig_alone(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    install_docker(machine)
    machine.install(name)
    machine.install("kubectl", "cat > /dev/null 2>&1 || true")
    addresses: list[str] = []
    monkeypatch.setattr(kafka, "fetch", lambda: None)
    monkeypatch.setattr(kafka, "up", addresses.append)
    monkeypatch.setattr(prerequisites, "custom_resource_definitions", lambda: [Path("/definition.yaml")])
    assert command_line.main(["up"]) == 0
    assert addresses == [GATEWAY]
    assert command_line.main(["up"]) == 1  # it is up
    assert command_line.main(["down"]) == 0
    own = f" KUBECONFIG={layout.kubeconfig()}"
    assert machine.calls(name) == [f"{name} {line}{own}" for line in COMMANDS[name]]
    docker = [line.replace(" KUBECONFIG=", "") for line in machine.calls("docker")]
    root = project_images.ROOT
    assert docker == [
        "docker info --format {{.ServerVersion}}",
        f"docker exec {NODES[name]} sh -c mkdir -p {engines.STATE_FOLDER} && chown 9999:9999 {engines.STATE_FOLDER}",
        f"docker build --file {root}/flink/images/flink/Dockerfile --tag {FLINK} {root} DOCKER_BUILDKIT=1",
        f"docker build --file {root}/flink/images/worker/Dockerfile --tag {WORKER} {root} DOCKER_BUILDKIT=1",
        f"docker container inspect --format {{{{json .NetworkSettings.Networks}}}} {NODES[name]}",
    ]
    applied = [line for line in machine.calls("kubectl") if " apply " in line]
    # The definition, the broker's Service, the volume, the namespace, the broker's policy, the operator.
    assert len(applied) == 6
    assert all(f"--kubeconfig={layout.kubeconfig()}" in line for line in applied)
    assert engines.running() is None


def test_options_of_the_user_are_passed_to_the_command_that_creates_the_cluster(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_docker(machine)
    machine.install("kind")
    monkeypatch.setattr(prerequisites, "fetch", lambda: None)
    monkeypatch.setattr(prerequisites, "apply_in", lambda engine: None)
    assert command_line.main(["up", "--options=--image mirror.example.com/kindest/node:v1.34.4"]) == 0
    assert "--wait 180s --image mirror.example.com/kindest/node:v1.34.4 " in machine.calls("kind")[0]


def test_a_second_cluster_is_refused_whichever_kind_it_is(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    install_docker(machine)
    machine.install("kind")
    monkeypatch.setattr(single_node, "is_up", lambda: True)
    assert command_line.main(["up", "--with=kind"]) == 1
    assert machine.calls("kind") == []


def test_a_program_that_only_the_platform_needs_is_named_before_anything_is_created(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    install_docker(machine)
    machine.install("kind")
    assert command_line.main(["up"]) == 1
    assert "mvn is not on PATH" in capsys.readouterr().err
    assert machine.calls("kind") == []
    assert engines.running() is None


def test_the_status_of_a_cluster_that_is_gone_names_its_engine(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    install_docker(machine)
    machine.install("kind")
    machine.install("kubectl", "exit 1")
    engines.create(engines.ENGINES[0])
    assert command_line.main(["status"]) == 1
    assert "not running: the cluster of kind, kafka; make kubernetes-down ends" in capsys.readouterr().err


def test_a_cluster_that_was_only_begun_is_deleted(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    install_docker(machine)
    monkeypatch.setattr(prerequisites, "fetch", lambda: None)
    machine.install("kind", '[ "$1" = create ] && { echo "no space left" >&2; exit 1; }; exit 0')
    assert command_line.main(["up", "--with=kind"]) == 1
    assert engines.running() is not None
    assert command_line.main(["down"]) == 0
    assert machine.calls("kind")[-1].startswith("kind delete cluster --name beam-serving")


def test_an_image_is_loaded_into_the_engine_that_runs(machine: Machine) -> None:
    install_docker(machine)
    machine.install("k3d")
    engine = engines.choose()
    assert engine is not None
    engines.create(engine)
    assert command_line.main(["load", WORKER]) == 0
    assert machine.calls("k3d")[-1].startswith(f"k3d image import --cluster beam-serving {WORKER}")
    assert not single_node.is_up()


def test_the_broker_is_reached_at_the_gateway_and_the_name_service_is_the_clusters_own() -> None:
    manifests = list(yaml.safe_load_all(prerequisites.kafka_services(GATEWAY)))
    assert [(one["kind"], one["metadata"]["name"]) for one in manifests] == [
        ("Namespace", "kafka"),
        ("Service", "kafka-kafka-bootstrap"),
        ("EndpointSlice", "kafka-machine"),
    ]
    assert manifests[-1]["endpoints"][0]["addresses"] == [GATEWAY]


def test_a_node_without_a_gateway_is_an_error(machine: Machine) -> None:
    machine.install("docker", """printf '{"internal": {"Gateway": ""}}'""")
    with pytest.raises(ClusterError, match="beam-serving-control-plane is in no network that has a gateway"):
        engines.machine_address(engines.ENGINES[0])
