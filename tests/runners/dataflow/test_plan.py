"""The plan for Dataflow: arguments rejected before anything is staged, and the options of the workers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import (
    DebugOptions,
    GoogleCloudOptions,
    PipelineOptions,
    SetupOptions,
    WorkerOptions,
)
from google.auth.exceptions import DefaultCredentialsError

from models.errors import CloudResourceError, OptionsError, WheelError
from runners.dataflow import plan as dataflow
from runners.plan import RunnerPlan, plan_runner
from runners.worker import wheel
from tests.google_cloud import BUCKET, PLACE, PROJECT, REGION, FakeDataflow, StorageEmulator
from tests.google_cloud import fake_dataflow as run_dataflow
from tests.google_cloud import storage_emulator as run_storage

IMAGE = "--sdk_container_image=europe-docker.pkg.dev/demo-project/serving/worker:1"


@pytest.fixture(scope="module")
def storage_emulator() -> Iterator[StorageEmulator]:
    with run_storage() as emulator:
        yield emulator


@pytest.fixture
def service() -> Iterator[FakeDataflow]:
    with run_dataflow() as running:
        yield running


@pytest.fixture
def here(storage_emulator: StorageEmulator, service: FakeDataflow) -> tuple[str, ...]:
    """Arguments with which all required resources exist."""
    return (*PLACE, f"--dataflow_endpoint={service.endpoint}", IMAGE)


def plan(*arguments: str) -> RunnerPlan:
    return plan_runner("DataflowRunner", arguments)


def replaced(arguments: tuple[str, ...], name: str, *values: str) -> list[str]:
    """The arguments without --NAME, and with these appended."""
    return [one for one in arguments if not one.startswith(f"--{name}")] + list(values)


# --- Errors found without asking Google.


@pytest.mark.parametrize("name", ["project", "region", "temp_location"])
def test_what_dataflow_cannot_do_without_is_named(name: str) -> None:
    with pytest.raises(OptionsError, match=f"--{name} is missing"):
        plan(*replaced(PLACE, name))


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        ("project", "My Project", "the id of a project"),
        ("project", "123456789", "the id of a project"),
        ("project", "p", "the id of a project"),
        ("region", "europe-west1-b", "a region, such as europe-west1"),
        ("region", "Belgium", "a region, such as"),
        ("temp_location", "/tmp/here", "gs://BUCKET/FOLDER"),
        ("temp_location", "gs://b/temp", "gs://BUCKET/FOLDER"),
        ("temp_location", "gs://Bucket/temp", "gs://BUCKET/FOLDER"),
        ("staging_location", f"gs://{BUCKET}", "gs://BUCKET/FOLDER"),
        ("job_name", "Serving 1", "a letter, then at most 62"),
        ("labels", "Team=Serving", "KEY=VALUE"),
    ],
)
def test_a_malformed_setting_is_refused_with_what_it_should_be(name: str, value: str, remedy: str) -> None:
    with pytest.raises(OptionsError, match=f"--{name} '{value}' is not valid; it must be {remedy}"):
        plan(*replaced(PLACE, name, f"--{name}={value}"))


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--update"], "--job_name"),
        (["--experiments=disable_runner_v2"], "disable_runner_v2 cannot be used"),
        (["--num_workers=9", "--max_num_workers=3"], "cannot exceed max_num_workers"),
        (
            ["--resource_hint=accelerator=type:nvidia-l4;count:1", "--dataflow_service_options=worker_accelerator=x"],
            "not both",
        ),
    ],
)
def test_settings_that_contradict_each_other_are_refused(arguments: list[str], reason: str) -> None:
    with pytest.raises(OptionsError, match=reason):
        plan(*PLACE, *arguments)


# --- Errors found by asking Google.


@pytest.mark.parametrize("name", ["temp_location", "staging_location", "template_location"])
def test_a_bucket_that_is_not_there_is_named(here: tuple[str, ...], name: str) -> None:
    with pytest.raises(CloudResourceError, match=r"gs://no-such-bucket/x: bucket 'no-such-bucket' does not exist"):
        plan(*replaced(here, name, f"--{name}=gs://no-such-bucket/x"))


def test_a_region_that_dataflow_does_not_know_is_named(here: tuple[str, ...]) -> None:
    with pytest.raises(CloudResourceError, match=r"region 'europe-west99': Dataflow rejects the request"):
        plan(*replaced(here, "region", "--region=europe-west99"))


def test_a_project_that_is_closed_to_us_is_named_with_the_role(here: tuple[str, ...]) -> None:
    with pytest.raises(CloudResourceError, match=r"project 'another-project'.*roles/dataflow\.developer"):
        plan(*replaced(here, "project", "--project=another-project"))


def test_a_service_that_does_not_answer_is_reported(here: tuple[str, ...], unique_port: Callable[[], int]) -> None:
    with pytest.raises(CloudResourceError, match="Dataflow"):
        plan(*replaced(here, "dataflow_endpoint", f"--dataflow_endpoint=http://localhost:{unique_port()}"))


def test_missing_credentials_are_reported_with_the_command(
    here: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing() -> None:
        raise DefaultCredentialsError("none")  # type: ignore[no-untyped-call]

    monkeypatch.setattr("google.auth.default", nothing)
    with pytest.raises(CloudResourceError, match="gcloud auth application-default login"):
        plan(*replaced(here, "no_auth"))


def test_nothing_is_staged_by_a_plan(here: tuple[str, ...], storage_emulator: StorageEmulator) -> None:
    before = storage_emulator.names()
    plan(*here)
    assert storage_emulator.names() == before


# --- Updates.


def test_an_update_of_a_job_that_does_not_run_is_refused(here: tuple[str, ...], service: FakeDataflow) -> None:
    service.running = {"another": "job-0"}
    with pytest.raises(CloudResourceError, match="no job named 'serving' is running"):
        plan(*here, "--update", "--job_name=serving")


def test_an_update_names_the_job_that_it_replaces(here: tuple[str, ...], service: FakeDataflow) -> None:
    service.running = {"serving": "job-0"}
    submit(plan(*here, "--update", "--job_name=serving"))
    assert service.created[0]["replaceJobId"] == "job-0"


# --- The job.


def submit(planned: RunnerPlan) -> Any:
    pipeline = beam.Pipeline(options=PipelineOptions(list(planned.arguments)))
    pipeline | beam.Impulse() | beam.Map(len)
    return pipeline.run()


def options_of(planned: RunnerPlan) -> PipelineOptions:
    return PipelineOptions(list(planned.arguments))


def test_the_job_that_is_asked_for_is_a_streaming_one_with_our_limits(
    here: tuple[str, ...], service: FakeDataflow
) -> None:
    submit(plan(*here, "--job_name=serving", "--labels=team=fraud", "--no_use_public_ips", "--subnetwork=regions/r/s"))
    (job,) = service.created
    (pool,) = job["environment"]["workerPools"]
    assert (job["name"], job["type"]) in {("serving", "JOB_TYPE_STREAMING"), ("serving", 2)}
    assert job["labels"] == {"application": "beam-serving", "team": "fraud"}
    assert pool["machineType"] == "n2-standard-4"
    assert pool["autoscalingSettings"]["maxNumWorkers"] == 5
    assert pool["subnetwork"] == "regions/r/s"
    assert {"use_runner_v2", "enable_streaming_engine"} <= set(job["environment"]["experiments"])


def test_what_the_user_gives_goes_before_our_defaults(here: tuple[str, ...]) -> None:
    workers = options_of(plan(*here, "--machine_type=n2-highmem-8", "--max_num_workers=40")).view_as(WorkerOptions)
    assert (workers.machine_type, workers.max_num_workers) == ("n2-highmem-8", 40)


def test_more_workers_from_the_start_raise_the_limit(here: tuple[str, ...]) -> None:
    assert options_of(plan(*here, "--num_workers=8")).view_as(WorkerOptions).max_num_workers == 8


def test_the_main_session_is_not_pickled(here: tuple[str, ...]) -> None:
    assert options_of(plan(*here)).view_as(SetupOptions).save_main_session is False


def test_a_gpu_is_a_resource_hint_of_the_whole_job(here: tuple[str, ...], storage_emulator: StorageEmulator) -> None:
    planned = plan(*here, "--resource_hint=accelerator=type:nvidia-l4;count:1;install-nvidia-driver")
    before = set(storage_emulator.names())
    submit(planned)
    (graph,) = (name for name in set(storage_emulator.names()) - before if name.endswith("pipeline.pb"))
    content = beam.portability.api.beam_runner_api_pb2.Pipeline.FromString(storage_emulator.read(graph))
    (environment,) = content.components.environments.values()
    assert (
        environment.resource_hints["beam:resources:accelerator:v1"] == b"type:nvidia-l4;count:1;install-nvidia-driver"
    )


def test_streaming_engine_and_runner_v2_are_asked_for(here: tuple[str, ...]) -> None:
    options = options_of(plan(*here))
    assert options.view_as(GoogleCloudOptions).enable_streaming_engine
    assert "use_runner_v2" in options.view_as(DebugOptions).experiments


def test_every_position_fires_and_the_frontiers_are_in_state_for_there_are_several_workers(
    here: tuple[str, ...],
) -> None:
    planned = plan(*here)
    assert (planned.firing, planned.frontiers) == ("each", "state")


def test_a_job_that_was_submitted_is_named_with_its_page(here: tuple[str, ...]) -> None:
    planned = plan(*here)
    assert planned.handed_over
    url = f"https://console.cloud.google.com/dataflow/jobs/{REGION}/job-1?project={PROJECT}"
    assert planned.handed_over(submit(planned)) == f"Dataflow job job-1: {url}"


def test_a_job_that_a_launcher_submits_is_a_file(here: tuple[str, ...], storage_emulator: StorageEmulator) -> None:
    planned = plan(*here, f"--template_location=gs://{BUCKET}/launches/job_object")
    assert planned.handed_over
    assert planned.handed_over(submit(planned)) == f"the job was written to gs://{BUCKET}/launches/job_object"
    assert "launches/job_object" in storage_emulator.names()


# --- The installation of the workers.


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The wheel, as if it had been built; tests of the template build it."""
    path = tmp_path / "beam_serving-0-py3-none-any.whl"
    monkeypatch.setattr(dataflow, "build_wheel", lambda: path)
    return path


def packages(planned: RunnerPlan) -> list[str] | None:
    given: list[str] | None = options_of(planned).view_as(SetupOptions).extra_packages
    return given


def test_without_a_container_the_wheel_is_staged(here: tuple[str, ...], built: Path) -> None:
    assert packages(plan(*replaced(here, "sdk_container_image"))) == [str(built)]


def test_a_container_has_the_application_in_it(here: tuple[str, ...], built: Path) -> None:
    assert not packages(plan(*here))


def test_a_wheel_that_is_given_is_staged(here: tuple[str, ...], built: Path) -> None:
    assert packages(plan(*replaced(here, "sdk_container_image", "--extra_package=/x/y.whl"))) == ["/x/y.whl"]


def test_workers_without_public_addresses_are_warned_of_packages_they_cannot_fetch(
    here: tuple[str, ...], built: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "runners.dataflow.plan"):
        plan(*here, "--no_use_public_ips")
        assert not caplog.messages
        plan(*replaced(here, "sdk_container_image", "--no_use_public_ips"))
    assert "cannot reach a package index" in caplog.messages[0]


def test_where_no_source_tree_is_the_wheel_has_to_be_given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(wheel, "_SOURCE", tmp_path)
    with pytest.raises(WheelError, match=r"--sdk_container_image=IMAGE or --extra_package=WHEEL"):
        wheel.build_wheel()
