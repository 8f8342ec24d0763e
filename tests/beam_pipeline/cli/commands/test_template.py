"""`beam-serving template` and `run --runner DataflowRunner`: rejected options, and that nothing is staged then."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest

from beam_pipeline.cli.command_line import main
from beam_pipeline.template.metadata import as_json, flex_metadata
from tests.google_cloud import BUCKET, PLACE, StorageEmulator, fake_dataflow, storage_emulator

CLASSIC = ("template", "build", "--kind=classic", f"--location=gs://{BUCKET}/templates/serving")
WINE = "--record-schema=wine"


@pytest.fixture(scope="module")
def emulator() -> Iterator[StorageEmulator]:
    with storage_emulator() as running:
        yield running


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ([], "missing --record-schema"),
        ([WINE, "--project=P"], "--project 'P' is not valid; it must be the id of a project"),
        (
            [WINE, "--region=europe-west1-b"],
            "--region 'europe-west1-b' is not valid; it must be a region, such as europe-west1",
        ),
        ([WINE, "--temp_location=gs://no-such-bucket/temp"], "bucket 'no-such-bucket' does not exist"),
        ([WINE, "--location=gs://no-such-bucket/serving"], "bucket 'no-such-bucket' does not exist"),
        ([WINE, "--machine_tpye=n2"], "did you mean '--machine_type'"),
        ([WINE, "--runner=DirectRunner"], "--runner is set by beam-serving"),
        ([WINE, "--max-batch=0"], "--max-batch 0 is less than 1"),
        ([WINE, "--start=yesterday"], "--start 'yesterday' is not one of"),
        ([WINE, "--group=g", "--kafka-config=group.id=x"], "group.id cannot be set"),
        ([WINE, "--kafka-config=sasl.password=secret:p/s/3"], "a reference to a secret has the form"),
        ([WINE, "--records-topic=same", "--results-topic=same"], "are both 'same'"),
        (["--record-schema=/no/such.avsc"], "neither a readable file"),
        ([WINE, "--image=x"], "--image is for --kind flex only"),
    ],
)
def test_what_is_wrong_with_a_classic_template_is_reported_and_nothing_is_staged(
    emulator: StorageEmulator, capsys: pytest.CaptureFixture[str], words: list[str], reason: str
) -> None:
    assert main([*CLASSIC, *PLACE, *words]) in (1, 2)
    assert reason in capsys.readouterr().err
    assert emulator.names() == []


def test_the_metadata_for_gcloud_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["template", "metadata", "--kind=flex"]) == 0
    assert capsys.readouterr().out == as_json(flex_metadata())


def test_the_metadata_of_a_classic_template_names_its_values(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["template", "metadata", "--kind=classic", WINE, "--on-update=wait"]) == 0
    assert "on-update wait" in json.loads(capsys.readouterr().out)["description"]


def test_the_metadata_repeats_no_secret(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["template", "metadata", "--kind=classic", WINE, "--kafka-config=sasl.password=hunter2"]) == 2
    output = capsys.readouterr()
    assert "put it into Secret Manager" in output.err
    assert "hunter2" not in output.out + output.err


def test_the_metadata_takes_no_option_of_beam(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["template", "metadata", "--kind=flex", "--project=p"]) == 2
    assert "unknown arguments: --project=p" in capsys.readouterr().err


# Brokers that only the workers reach.
RUN = [
    *("run", "--runner=DataflowRunner", "--bootstrap-servers=kafka.internal:9092", WINE, "--records-topic=records"),
    *("--models-topic=models", "--results-topic=results", "--dead-letter-topic=letters"),
]


def test_run_stores_no_secret_in_plain(emulator: StorageEmulator, capsys: pytest.CaptureFixture[str]) -> None:
    with fake_dataflow() as service:
        where = (
            *PLACE,
            f"--dataflow_endpoint={service.endpoint}",
            "--sdk_container_image=image:1",
            "--job_name=serving",
        )
        assert main([*RUN, "--kafka-config=sasl.password=hunter2", *where]) == 2
        assert service.created == []
    output = capsys.readouterr()
    assert "put it into Secret Manager" in output.err
    assert "hunter2" not in output.out + output.err
    assert emulator.names() == []


def test_run_submits_a_job_and_does_not_wait_for_it(
    emulator: StorageEmulator, caplog: pytest.LogCaptureFixture
) -> None:
    with fake_dataflow() as service, caplog.at_level(logging.INFO, "beam_pipeline.running"):
        where = (
            *PLACE,
            f"--dataflow_endpoint={service.endpoint}",
            "--sdk_container_image=image:1",
            "--job_name=serving",
        )
        assert main([*RUN, *where]) == 0
        (job,) = service.created
    assert job["name"] == "serving"
    assert any("Dataflow job job-1: https://console.cloud.google.com/" in message for message in caplog.messages)
