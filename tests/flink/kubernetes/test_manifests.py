"""What no schema says: that the parts fit each other, this repository's code, and what is safe."""

from __future__ import annotations

import argparse
import ast
import re
import shutil
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

from beam_pipeline.cli.arguments import CONNECTION, OPTIONS, RUN
from beam_pipeline.cli.beam_arguments import check_beam_arguments
from beam_pipeline.cli.command_line import COMMANDS
from beam_pipeline.cli.model_objects import model_object
from beam_pipeline.cli.option_values import read_options, read_runner_options, serving_options
from beam_pipeline.options import ServingOptions
from runners.flink.configuration import JOB_CONFIGURATION
from runners.flink.plan import WORKER_POOL, plan
from runners.flink.submission import ENTRY_CLASS
from tests.flink.kubernetes import overlays
from tests.flink.kubernetes.fetched import kustomize, run
from tests.flink.kubernetes.flink_options import is_known
from tests.flink.kubernetes.overlays import NAMES, Manifest, containers, deployment, of_kind, pods

FLINK_CONTAINER = "flink-main-container"
CONFIG = "--config=/etc/beam-serving/serving.yaml"
API_TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount"
MODEL = "predictor/model"
every_overlay = pytest.mark.parametrize("name", NAMES)
# The overlays that have the components declared-models and model-status.
DECLARED = ("aws", "google-cloud")


def all_containers(name: str) -> Iterator[tuple[str, Manifest, Manifest]]:
    """Each container with its place and the pod that it is in; KServe's has no pod of its own here."""
    for place, pod in pods(name).items():
        for container in containers(pod).values():
            yield f"{place}/{container['name']}", pod, container
    for service in of_kind(name, "InferenceService").values():
        model = service["spec"]["predictor"]["model"]
        yield MODEL, {"initContainers": [], "containers": [model]}, model


def running(name: str) -> Iterator[tuple[str, Manifest, Manifest]]:
    """The containers that stay: not those of a job, whose pods do not restart."""
    found = all_containers(name)
    return (one for one in found if one[2] in one[1]["containers"] and one[1].get("restartPolicy") != "Never")


def init_arguments(name: str) -> list[str]:
    """What the job is made with."""
    (found,) = (one for place, _, one in all_containers(name) if place.endswith("/make-job"))
    arguments: list[str] = found["args"]
    return arguments


def argument(name: str, option: str) -> str:
    (value,) = (one.partition("=")[2] for one in init_arguments(name) if one.startswith(f"{option}="))
    return value


def serving(name: str, folder: Path) -> tuple[ServingOptions, dict[str, Any]]:
    """The options of an overlay's serving.yaml, read as `beam-serving run` reads them, and the file's content."""
    (config,) = (one for key, one in of_kind(name, "ConfigMap").items() if key.startswith("serving-"))
    path = folder / "serving.yaml"
    path.write_text(config["data"]["serving.yaml"])
    given = argparse.Namespace(config=str(path), **{OPTIONS[option].field: None for option in RUN})
    return serving_options(read_options(given, RUN), read_runner_options(given)), yaml.safe_load(path.read_text())


# --- Containers


@every_overlay
def test_no_container_is_root_or_can_write_to_its_own_files(name: str) -> None:
    for place, pod, container in all_containers(name):
        own, shared = container["securityContext"], pod.get("securityContext", {})
        both = {**shared, **own}
        assert own["readOnlyRootFilesystem"], place
        assert own["allowPrivilegeEscalation"] is False, place
        assert own["capabilities"] == {"drop": ["ALL"]}, place
        assert both["runAsNonRoot"], place
        assert both["runAsUser"] > 0, place
        assert both["seccompProfile"] == {"type": "RuntimeDefault"}, place


@every_overlay
def test_every_container_says_what_it_needs(name: str) -> None:
    flink = deployment(name)
    for part in ("jobManager", "taskManager"):
        assert flink[part]["resource"].keys() == {"cpu", "memory"}
    for place, _, container in all_containers(name):
        if container.get("name") != FLINK_CONTAINER:  # Flink makes its own of what stands above
            for kind in ("requests", "limits"):
                assert container["resources"][kind].keys() == {"cpu", "memory"}, place


@every_overlay
def test_every_container_that_stays_is_probed(name: str) -> None:
    for place, _, container in running(name):
        assert "readinessProbe" in container, place
        assert "livenessProbe" in container or place == MODEL, place  # Knative has its own


@every_overlay
def test_mounts_name_volumes_and_volumes_are_mounted(name: str) -> None:
    for place, pod in pods(name).items():
        mounted = {mount["name"] for one in containers(pod).values() for mount in one["volumeMounts"]}
        assert mounted == {volume["name"] for volume in pod["volumes"]}, place


@every_overlay
def test_no_container_in_which_a_model_runs_has_a_token_of_the_kubernetes_api(name: str) -> None:
    with_token = set()
    for place, pod in pods(name).items():
        assert pod["automountServiceAccountToken"] is False, place
        for container in containers(pod).values():
            if any(mount["mountPath"] == API_TOKEN for mount in container["volumeMounts"]):
                with_token.add((place, container["name"]))
    wanted = {("jobManager", FLINK_CONTAINER), ("taskManager", FLINK_CONTAINER)}
    assert with_token - {("model-status", "model-status")} == wanted
    assert ("model-status" in pods(name)) == (len(with_token) == 3)


@every_overlay
def test_images_are_pinned(name: str) -> None:
    for place, _, container in all_containers(name):
        if place != MODEL:  # KServe's runtime names it
            image = container.get("image") or deployment(name)["image"]
            assert re.search(r":\d+\.\d+\.\d+$", image), place


# --- Secrets


@every_overlay
def test_secrets_are_named_and_never_given(name: str, tmp_path: Path) -> None:
    assert not of_kind(name, "Secret")
    for place, _, container in all_containers(name):
        for variable in container.get("env", []):
            given_value = "value" in variable and not variable["value"].startswith("/")
            assert not given_value, f"{place}: {variable['name']}"
    _, content = serving(name, tmp_path)
    secrets = [key for key in content["kafka-config"] if re.search(r"password|secret|pem|oauth", key)]
    assert secrets == []


@every_overlay
def test_the_files_that_the_configuration_names_are_mounted_where_it_is_read(name: str, tmp_path: Path) -> None:
    options, _ = serving(name, tmp_path)
    files = [value for key, value in options.kafka_config.items() if key.endswith(".location")]
    assert len(files) == 3
    readers = [
        (place, container)
        for place, _, container in all_containers(name)
        if place.endswith(("/make-job", "/worker-pool")) or CONFIG in container.get("args", [])
    ]
    assert len(readers) == (4 if name in DECLARED else 2)
    for place, container in readers:
        secret = "kafka-publisher" if place.endswith("/publish-models") else "kafka-client"
        folders = [mount["mountPath"] for mount in container["volumeMounts"] if mount["name"] == secret]
        assert all(str(Path(file).parent) in folders for file in files), place


def test_workers_get_no_key_to_the_state() -> None:
    for name in NAMES:
        worker = containers(pods(name)["taskManager"])["worker-pool"]
        assert "object-storage" not in str(worker), name


# --- The job


@every_overlay
def test_the_configuration_is_one_that_the_command_line_takes(name: str, tmp_path: Path) -> None:
    options, content = serving(name, tmp_path)
    assert options.runner == "FlinkRunner"
    assert content.keys() >= {*CONNECTION, "records-topic", "models-topic", "results-topic", "dead-letter-topic"}


@every_overlay
def test_the_arguments_make_a_jar_for_the_worker_pool(name: str, tmp_path: Path) -> None:
    command, *arguments = init_arguments(name)
    assert command == "run"
    jar = tmp_path / "server.jar"
    jar.touch()
    of_beam = [one for one in arguments if not one.startswith(("--config=", "--flink_job_server_jar="))]
    check_beam_arguments(of_beam)
    planned = plan([*of_beam, f"--flink_job_server_jar={jar}"])
    assert f"--environment_config={WORKER_POOL}" in planned.arguments
    assert "--environment_type=EXTERNAL" in planned.arguments
    with pytest.raises(Exception, match="nosuch"):
        check_beam_arguments([*of_beam, "--nosuch=1"])


@every_overlay
def test_the_job_is_where_flink_looks_for_it(name: str) -> None:
    written = argument(name, "--output_executable_path")
    if name == "session":
        (job,) = (one["spec"]["job"] for one in of_kind(name, "FlinkSessionJob").values())
        (service,) = of_kind(name, "Service").values()
        assert job["jarURI"] == f"http://{service['metadata']['name']}.beam-serving.svc:8080/{Path(written).name}"
        server = containers(pods(name)["pipeline"])["serve-job"]
        assert str(Path(written).parent) == server["args"][-1]
    else:
        job = deployment(name)["job"]
        assert job["jarURI"] == f"local://{written}"
    assert job["entryClass"] == ENTRY_CLASS
    assert job["upgradeMode"] == "savepoint"
    assert int(deployment(name)["flinkConfiguration"]["pipeline.max-parallelism"]) >= job["parallelism"]


@every_overlay
def test_the_worker_pool_listens_where_the_job_looks_for_it(name: str) -> None:
    pool = containers(pods(name)["taskManager"])["worker-pool"]
    port = pool["ports"][0]["containerPort"]
    assert f"localhost:{port}" == argument(name, "--environment_config")
    assert all(pool[probe]["tcpSocket"]["port"] == port for probe in ("readinessProbe", "livenessProbe"))


@every_overlay
def test_a_changed_configuration_is_an_upgrade(name: str, tmp_path: Path) -> None:
    copy = tmp_path / "kubernetes"
    shutil.copytree(overlays.FOLDER, copy)
    with (copy / "base" / "serving.yaml").open("a") as file:
        file.write("max-batch: 500\n")
    kinds = ("FlinkDeployment", "FlinkSessionJob")
    changed = [
        one
        for one in yaml.safe_load_all(run([*kustomize(), str(copy / "overlays" / name)]))
        if one["kind"] in kinds and one not in overlays.rendered(name)
    ]
    assert [one["kind"] for one in changed] == [kinds[1] if name == "session" else kinds[0]]


# --- Flink's configuration


@every_overlay
def test_flink_and_its_operator_know_every_option(name: str) -> None:
    assert [key for key in deployment(name)["flinkConfiguration"] if not is_known(key)] == []


def test_a_misspelt_option_is_reported() -> None:
    wrong = (
        "taskmanager.numberOfTaskSlot",
        "job.autoscaler.enable",
        "kubernetes.operator.savepoint",
        "state.backend.typ",
    )
    assert [name for name in wrong if is_known(name)] == []
    assert not is_known("metrics.reporter.prom.factory.klass")


@every_overlay
def test_state_and_high_availability_lie_in_the_overlays_object_storage(name: str) -> None:
    configuration = deployment(name)["flinkConfiguration"]
    scheme = "gs" if name == "google-cloud" else "s3"
    for key in ("high-availability.storageDir", "state.checkpoints.dir", "state.savepoints.dir"):
        assert configuration[key].startswith(f"{scheme}://"), key
    assert configuration["high-availability.type"] == "kubernetes"
    assert configuration["restart-strategy.type"] == "exponential-delay"
    assert f"{scheme}-fs-hadoop" in (overlays.ROOT / "flink/images/flink/Dockerfile").read_text()
    assert deployment(name)["jobManager"]["replicas"] == 2


@every_overlay
def test_what_the_runner_sets_by_itself_on_a_cluster_is_set_here(name: str) -> None:
    assert deployment(name)["flinkConfiguration"].items() >= JOB_CONFIGURATION.items()


# --- The network


def ports_from(name: str, policy: str, direction: str) -> set[int]:
    rules = of_kind(name, "NetworkPolicy")[policy]["spec"].get(direction, [])
    return {port["port"] for rule in rules for port in rule["ports"]}


@every_overlay
def test_nothing_is_let_in_or_out_that_no_rule_names(name: str) -> None:
    deny = of_kind(name, "NetworkPolicy")["deny-all"]["spec"]
    assert deny == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    for policy, manifest in of_kind(name, "NetworkPolicy").items():
        spec = manifest["spec"]
        for rule in [*spec.get("ingress", []), *spec.get("egress", [])]:
            assert rule.get("ports"), policy
            assert rule.get("from") or rule.get("to"), policy


@every_overlay
def test_nobody_outside_of_the_pod_reaches_the_worker_pool(name: str) -> None:
    for policy in of_kind(name, "NetworkPolicy"):
        assert 50_000 not in ports_from(name, policy, "ingress"), policy


@every_overlay
def test_the_ports_that_flink_and_kafka_use_are_open(name: str, tmp_path: Path) -> None:
    configuration = deployment(name)["flinkConfiguration"]
    reporter = int(configuration["metrics.reporter.prom.port"])
    data = int(configuration["taskmanager.data.port"])
    metrics = int(configuration["metrics.internal.query-service.port"])
    assert ports_from(name, "flink", "ingress") == {data, 6122, 6123, 6124, metrics, 8081, reporter}
    options, _ = serving(name, tmp_path)
    host, _, broker = options.bootstrap_servers.partition(":")
    assert {53, data, 6123, metrics, int(broker)} <= ports_from(name, "flink", "egress")
    assert host.split(".")[1] == of_kind(name, "KafkaTopic")["records"]["metadata"]["namespace"]


@every_overlay
def test_metrics_are_scraped_from_the_reporters_port(name: str) -> None:
    (monitor,) = of_kind(name, "PodMonitor").values()
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    for part in ("jobManager", "taskManager"):
        ports = containers(pods(name)[part])[FLINK_CONTAINER]["ports"]
        (port,) = (one["containerPort"] for one in ports if one["name"] == endpoint["port"])
        assert str(port) == deployment(name)["flinkConfiguration"]["metrics.reporter.prom.port"]


@every_overlay
def test_selectors_find_pods(name: str) -> None:
    """Flink labels its pods with `app`, the FlinkDeployment's name, and `component`."""
    (flink,) = of_kind(name, "FlinkDeployment")
    labels = [{"app": flink, "component": part} for part in ("jobmanager", "taskmanager")]
    labels += [one["spec"]["template"]["metadata"]["labels"] for one in of_kind(name, "Deployment").values()]
    jobs = of_kind(name, "CronJob").values()
    labels += [one["spec"]["jobTemplate"]["spec"]["template"]["metadata"]["labels"] for one in jobs]
    labels += [{"serving.kserve.io/inferenceservice": one} for one in of_kind(name, "InferenceService")]
    selectors = [("service", one["spec"]["selector"]) for one in of_kind(name, "Service").values()]
    for kind, key in (
        ("PodDisruptionBudget", "selector"),
        ("PodMonitor", "selector"),
        ("NetworkPolicy", "podSelector"),
    ):
        found = of_kind(name, kind)
        selectors += [(one, manifest["spec"][key].get("matchLabels", {})) for one, manifest in found.items()]
    assert len(selectors) > 4
    for what, selector in selectors:
        assert any(selector.items() <= pod.items() for pod in labels), what


def test_the_service_of_tensorflow_serving_shows_every_server() -> None:
    service = of_kind("aws", "Service")["tensorflow-serving"]["spec"]
    assert service["clusterIP"] == "None"
    server = containers(pods("aws")["tensorflow-serving"])["tensorflow-serving"]
    assert {one["name"]: one["containerPort"] for one in server["ports"]} == {
        one["targetPort"]: one["port"] for one in service["ports"]
    }
    assert {one["port"] for one in service["ports"]} == ports_from("aws", "flink-to-tensorflow-serving", "egress")


# --- Kafka


@every_overlay
def test_the_topics_are_those_of_the_configuration(name: str, tmp_path: Path) -> None:
    options, _ = serving(name, tmp_path)
    topics = of_kind(name, "KafkaTopic")
    assert topics.keys() == {
        options.records_topic,
        options.models_topic,
        options.results_topic,
        options.dead_letter_topic,
        options.status_topic,
    }
    models = topics[options.models_topic]["spec"]
    assert models["partitions"] == 1
    assert models["config"]["cleanup.policy"] == "compact"
    assert options.result_key == "coordinates"
    assert "compact" in topics[options.results_topic]["spec"]["config"]["cleanup.policy"]


@every_overlay
def test_the_user_may_do_what_the_pipeline_does_and_no_more(name: str, tmp_path: Path) -> None:
    options, _ = serving(name, tmp_path)
    user = of_kind(name, "KafkaUser")["beam-serving"]
    allowed = {
        (one["resource"]["type"], one["resource"]["name"]): set(one["operations"])
        for one in user["spec"]["authorization"]["acls"]
    }
    reads = {("topic", options.records_topic), ("topic", options.models_topic), ("group", options.group)}
    reads.add(("topic", str(options.status_topic)))  # by what shows the status
    writes = {("topic", options.results_topic), ("topic", options.dead_letter_topic), ("topic", options.status_topic)}
    assert {key for key, operations in allowed.items() if "Read" in operations} == reads
    assert {key for key, operations in allowed.items() if "Write" in operations} == writes
    assert allowed.keys() == reads | writes


# --- Models and routes that manifests declare, and what shows them


@every_overlay
def test_every_object_and_every_pod_has_the_labels_that_kubernetes_recommends(name: str) -> None:
    wanted = {
        "app.kubernetes.io/name": "beam-serving",
        "app.kubernetes.io/part-of": "beam-serving",
        "app.kubernetes.io/managed-by": "kustomize",
    }
    for manifest in overlays.rendered(name):
        assert manifest["metadata"]["labels"].items() >= wanted.items(), manifest["metadata"]["name"]
    flink = deployment(name)
    templates = [flink[part]["podTemplate"] for part in ("jobManager", "taskManager")]
    templates += [one["spec"]["template"] for one in of_kind(name, "Deployment").values()]
    templates += [one["spec"]["jobTemplate"]["spec"]["template"] for one in of_kind(name, "CronJob").values()]
    components = [one["metadata"]["labels"].get("app.kubernetes.io/component") for one in templates]
    assert None not in components
    assert len(set(components)) == len(components)
    assert all(one["metadata"]["labels"].items() >= wanted.items() for one in templates)


@pytest.mark.parametrize("name", DECLARED)
@pytest.mark.parametrize("place", ["publish-models", "model-status"])
def test_the_commands_of_the_components_are_ones_that_the_command_line_takes(name: str, place: str) -> None:
    container = containers(pods(name)[place])[place]
    assert container["command"] == ["beam-serving"]
    command, *arguments = container["args"]
    parser = argparse.ArgumentParser()
    import_module(COMMANDS[command][0]).add_arguments(parser)
    given = parser.parse_args(arguments)
    mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert str(Path(given.config).parent) in mounted
    if place == "publish-models":
        assert (given.action, given.file in mounted, given.dry_run) == ("apply", True, False)
    else:
        probe = container["livenessProbe"]["exec"]["command"]
        assert given.touch in probe[-1]
        assert str(Path(given.touch).parent) in mounted


@every_overlay
def test_the_publisher_may_write_models_and_nothing_else(name: str, tmp_path: Path) -> None:
    options, _ = serving(name, tmp_path)
    acls = of_kind(name, "KafkaUser")["beam-serving-publisher"]["spec"]["authorization"]["acls"]
    by_type = {one["resource"]["type"]: one for one in acls}
    assert len(acls) == len(by_type) == 2
    assert by_type["topic"]["resource"]["name"] == options.models_topic
    # The id of a transaction, as `models.model_topic.transactions` makes it.
    assert by_type["transactionalId"]["resource"]["name"] == f"beam-serving.{options.models_topic}."
    assert by_type["transactionalId"]["resource"]["patternType"] == "prefix"


def test_the_publisher_gets_the_credentials_of_models() -> None:
    for name in DECLARED:
        assert "model-storage" in str(pods(name)["publish-models"])
        assert "object-storage" not in str(pods(name)["publish-models"])


def test_columns_and_roles_fit_what_is_written() -> None:
    definition = of_kind("aws", "CustomResourceDefinition")[f"{model_object.PLURAL}.{model_object.GROUP}"]["spec"]
    assert definition["names"]["kind"] == model_object.KIND
    (version,) = definition["versions"]
    assert version["name"] == model_object.VERSION
    fields = version["schema"]["openAPIV3Schema"]["properties"]
    for column in version["additionalPrinterColumns"]:
        _, part, field = column["jsonPath"].split(".")
        assert field in fields[part]["properties"], column["name"]
    rules = of_kind("aws", "Role")["model-status"]["rules"]
    assert {group for rule in rules for group in rule["apiGroups"]} == {"", "apps", definition["group"]}


# --- Versions, which several files say


def test_one_version_of_flink_is_named_everywhere() -> None:
    pom = (overlays.ROOT / "flink/job-server/pom.xml").read_text()
    version = re.search(r"<flink.distribution.version>(.+?)<", pom)
    minor = re.search(r"<flink.minor.version>(.+?)<", pom)
    assert version and minor
    dockerfile = (overlays.ROOT / "flink/images/flink/Dockerfile").read_text()
    assert set(re.findall(r"(?:FROM flink:|}-)(\d+\.\d+\.\d+)", dockerfile)) == {version[1]}
    assert f"<flink.version>{version[1]}<" in Path(__file__).with_name("pom.xml").read_text()
    for name in NAMES:
        assert deployment(name)["flinkVersion"] == f"v{minor[1].replace('.', '_')}"


def test_the_images_have_the_version_of_this_repository() -> None:
    version = next(
        ast.literal_eval(keyword.value)
        for node in ast.walk(ast.parse((overlays.ROOT / "setup.py").read_text()))
        if isinstance(node, ast.Call)
        for keyword in node.keywords
        if keyword.arg == "version"
    )
    ours = {
        container["image"]
        for name in NAMES
        for _, _, container in all_containers(name)
        if "beam-serving" in container.get("image", "")
    }
    assert ours
    assert {image.rpartition(":")[2] for image in ours} == {version}
