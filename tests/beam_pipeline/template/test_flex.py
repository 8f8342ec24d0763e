"""The Flex template: the file that names the image, and the launcher's handling of a job's parameters."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.cloud import dataflow_v1beta3 as dataflow

from beam_pipeline.cli import command_line
from beam_pipeline.cli.arguments import OPTIONS
from beam_pipeline.cli.command_line import main
from beam_pipeline.template.launch import main as launch
from beam_pipeline.template.launch import run_words
from beam_pipeline.template.metadata import flex_metadata
from beam_pipeline.template.parameters import is_required, parameter_name
from tests.google_cloud import BUCKET, PLACE, StorageEmulator

ROOT = Path(__file__).resolve().parents[3]
IMAGE = "europe-docker.pkg.dev/demo-project/serving/beam-serving:1"
BUILD = ["template", "build", "--kind=flex", f"--image={IMAGE}", *PLACE]


def build(emulator: StorageEmulator, name: str, *more: str) -> dict[str, Any]:
    assert main([*BUILD, f"--location=gs://{BUCKET}/{name}", *more]) == 0
    spec: dict[str, Any] = json.loads(emulator.read(name))
    return spec


# --- The container spec.


def test_the_spec_names_the_image_the_language_and_the_parameters(storage_emulator: StorageEmulator) -> None:
    spec = build(storage_emulator, "flex/serving.json")
    assert spec["image"] == IMAGE
    assert spec["sdkInfo"] == {"language": "PYTHON"}
    read = dataflow.ContainerSpec.from_json(json.dumps(spec), ignore_unknown_fields=False)
    assert read.metadata == flex_metadata()


def test_the_jobs_have_our_workers_and_the_image_by_default(storage_emulator: StorageEmulator) -> None:
    environment = build(storage_emulator, "flex/defaults.json")["defaultEnvironment"]
    assert environment == {
        "machineType": "n2-standard-4",
        "maxWorkers": 5,
        "enableStreamingEngine": True,
        "additionalUserLabels": {"application": "beam-serving"},
        "sdkContainerImage": IMAGE,
        "tempLocation": f"gs://{BUCKET}/temp",
        "stagingLocation": f"gs://{BUCKET}/temp",
    }


def test_the_network_and_the_limits_are_the_default_of_the_jobs(storage_emulator: StorageEmulator) -> None:
    given = (
        "--machine_type=n2-highmem-4", "--max_num_workers=20", "--num_workers=2", "--no_use_public_ips",
        "--network=serving", "--subnetwork=regions/europe-west1/subnetworks/serving", "--labels=team=fraud",
        "--service_account_email=worker@demo-project.iam.gserviceaccount.com", "--sdk_container_image=other:1",
    )  # fmt: skip
    environment = build(storage_emulator, "flex/network.json", *given)["defaultEnvironment"]
    assert environment["ipConfiguration"] == "WORKER_IP_PRIVATE"
    assert environment["subnetwork"] == "regions/europe-west1/subnetworks/serving"
    assert (environment["numWorkers"], environment["maxWorkers"]) == (2, 20)
    assert (environment["machineType"], environment["network"]) == ("n2-highmem-4", "serving")
    assert environment["additionalUserLabels"] == {"application": "beam-serving", "team": "fraud"}
    assert environment["serviceAccountEmail"] == "worker@demo-project.iam.gserviceaccount.com"
    assert environment["sdkContainerImage"] == "other:1"


# --- The command line that starts it.


def test_the_command_names_every_parameter_that_must_be_given(
    storage_emulator: StorageEmulator, capsys: pytest.CaptureFixture[str]
) -> None:
    build(storage_emulator, "flex/command.json")
    command = capsys.readouterr().out.splitlines()[-1]
    assert command.startswith("gcloud dataflow flex-template run ")
    assert f"--template-file-gcs-location=gs://{BUCKET}/flex/command.json" in command
    parameters = re.search(r"--parameters=(\S+)", command)
    assert parameters
    named = {one.split("=")[0] for one in parameters[1].split(",")}
    # A schema registry can give the schema instead; without one it must be given.
    assert named == {parameter_name(name) for name in OPTIONS if is_required(name)} | {"record_schema"}


# --- Refused before anything is written.


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--location=gs://no-such-bucket/x.json"], "bucket 'no-such-bucket' does not exist"),
        (["--location=/tmp/x.json"], "--template_location '/tmp/x.json' is not valid"),
        ([f"--location=gs://{BUCKET}/x.json", "--project=P"], "--project 'P' is not valid"),
        ([f"--location=gs://{BUCKET}/x.json", "--region=mars"], "--region 'mars' is not valid"),
        ([f"--location=gs://{BUCKET}/x.json", "--machine_tpye=n2"], "did you mean '--machine_type'"),
        (
            [f"--location=gs://{BUCKET}/x.json", "--group=g"],
            "--group: a Flex template takes these options when a job is started",
        ),
        ([f"--location=gs://{BUCKET}/x.json", "--image=a b"], "not the name of a container image"),
    ],
)
def test_what_is_wrong_is_reported_and_nothing_is_written(
    storage_emulator: StorageEmulator, capsys: pytest.CaptureFixture[str], words: list[str], reason: str
) -> None:
    before = storage_emulator.names()
    assert main([*BUILD, *words]) in (1, 2)
    assert reason in capsys.readouterr().err
    assert storage_emulator.names() == before


def test_without_an_image_it_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["template", "build", "--kind=flex", f"--location=gs://{BUCKET}/x.json", *PLACE]) == 2
    assert "--kind flex needs --image" in capsys.readouterr().err


# --- The launcher.

LAUNCHED = [
    "--runner=DataflowRunner",
    "--streaming=true",
    "--save_main_session",
    f"--template_location=gs://{BUCKET}/staging/template_launches/job_object",
    '--labels={"goog-dataflow-provided-template-type": "flex"}',
    "--no_use_public_ips",
    "--kafka_bootstrap_servers=b-1:9092",
    "--records_topic=records",
    "--kafka_config=security.protocol=SSL;client.id=a",
]


def test_the_launcher_turns_parameters_into_the_command_run(tmp_path: Path) -> None:
    assert run_words(LAUNCHED, tmp_path) == [
        "run",
        "--runner=DataflowRunner",
        "--bootstrap-servers=b-1:9092",
        "--records-topic=records",
        "--kafka-config=security.protocol=SSL",
        "--kafka-config=client.id=a",
        f"--template_location=gs://{BUCKET}/staging/template_launches/job_object",
        '--labels={"goog-dataflow-provided-template-type": "flex"}',
        "--no_use_public_ips",
    ]


def test_files_in_the_bucket_are_read_by_the_launcher(storage_emulator: StorageEmulator, tmp_path: Path) -> None:
    schema = storage_emulator.write("schemas/own.avsc", '{"type": "record"}')
    config = storage_emulator.write("serving.yaml", "group: own\n")
    words = run_words([f"--record_schema={schema}", f"--config={config}", "--no_auth"], tmp_path)
    copied = dict(word.removeprefix("--").split("=") for word in words[2:-1])
    assert Path(copied["record-schema"]).read_text() == '{"type": "record"}'
    assert Path(copied["config"]).read_text() == "group: own\n"


def test_schemas_that_a_config_in_the_bucket_names_are_read_too(
    storage_emulator: StorageEmulator, tmp_path: Path
) -> None:
    avro = storage_emulator.write("schemas/wine.avsc", "avro")
    descriptors = storage_emulator.write("schemas/acme.binpb", "protobuf")
    examples = storage_emulator.write("schemas/cards.tfrecord", "examples")
    entries = [
        {"topic": "a", "schema": avro},
        {"topic": "b", "schema": f"{descriptors}#acme.Measure", "format": "protobuf"},
        {"topic": "c", "schema": f"derived:{examples}", "format": "tf-example"},
        {"topic": "d", "schema": "wine"},
        {"topic": "e", "format": "confluent-avro"},
    ]
    config = storage_emulator.write("several.yaml", yaml.safe_dump({"group": "g", "records": entries}))
    (word,) = run_words([f"--config={config}"], tmp_path)[2:]
    copied = yaml.safe_load(Path(word.removeprefix("--config=")).read_text())
    first, second, third, *others = copied["records"]
    assert (copied["group"], others) == ("g", entries[3:])
    assert (Path(first["schema"]).name, Path(first["schema"]).read_text()) == ("wine.avsc", "avro")
    assert Path(second["schema"].removesuffix("#acme.Measure")).read_text() == "protobuf"
    assert Path(third["schema"].removeprefix("derived:")).read_text() == "examples"
    assert Path(third["schema"]).stem == "cards"  # the name of the record type
    assert [one["topic"] for one in copied["records"]] == list("abcde")


def test_the_only_schema_of_a_config_in_the_bucket_is_read_too(
    storage_emulator: StorageEmulator, tmp_path: Path
) -> None:
    avro = storage_emulator.write("schemas/single.avsc", "avro")
    config = storage_emulator.write("single.yaml", f"record-schema: {avro}\n")
    (word,) = run_words([f"--config={config}"], tmp_path)[2:]
    copied = yaml.safe_load(Path(word.removeprefix("--config=")).read_text())
    assert Path(copied["record-schema"]).read_text() == "avro"


def test_a_file_that_cannot_be_read_is_a_usage_error(
    storage_emulator: StorageEmulator, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = f"gs://{BUCKET}/schemas/missing.avsc"
    config = storage_emulator.write("missing.yaml", f"records: [{{topic: a, schema: '{missing}'}}]")
    assert launch([f"--config={config}"]) == 2
    assert f"{missing} cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize(("before", "after"), [("", "#acme.Measure"), ("derived:", "")])
def test_what_a_schema_says_around_its_file_stays(
    storage_emulator: StorageEmulator, tmp_path: Path, before: str, after: str
) -> None:
    file = storage_emulator.write("schemas/measure", "content")
    (word,) = run_words([f"--record_schema={before}{file}{after}"], tmp_path)[2:]
    copied = word.removeprefix(f"--record-schema={before}").removesuffix(after)
    assert word == f"--record-schema={before}{copied}{after}"
    assert Path(copied).read_text() == "content"


def test_the_launcher_runs_it_and_gives_the_status(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[list[str]] = []

    def main_instead(words: list[str]) -> int:
        ran.append(words)
        return 2

    monkeypatch.setattr(command_line, "main", main_instead)
    assert launch(["--records_topic=records"]) == 2
    assert ran == [["run", "--runner=DataflowRunner", "--records-topic=records"]]


# --- The image.


def test_the_image_has_what_the_launcher_and_the_workers_look_for() -> None:
    lines = (ROOT / "dataflow" / "Dockerfile").read_text().splitlines()
    text = "\n".join(lines)
    launcher = re.search(r"^ENV FLEX_TEMPLATE_PYTHON_PY_FILE=(\S+)$", text, re.MULTILINE)
    assert launcher
    copied = [line.split()[1:] for line in lines if line.startswith("COPY ") and "--from" not in line]
    assert [Path(launcher[1])] == [
        Path(target) / Path(source).name for source, target in copied if source.endswith(".py")
    ]
    for source, _ in copied:
        assert "*" in source or (ROOT / source).exists(), source
    assert "python_template_launcher" in text
    assert "ENTRYPOINT" in text


def test_the_image_is_of_the_beam_that_the_application_wants() -> None:
    import apache_beam

    text = (ROOT / "dataflow" / "Dockerfile").read_text()
    version = re.search(r"^ARG BEAM_VERSION=(\S+)$", text, re.MULTILINE)
    assert version
    assert version[1].rsplit(".", 1)[0] == apache_beam.__version__.rsplit(".", 1)[0]
