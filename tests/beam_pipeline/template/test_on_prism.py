"""A template's staged graph, with only the firing exchanged, against a real broker."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apache_beam as beam

from beam_pipeline.graph import build
from beam_pipeline.template.classic import classic_options
from models.kafka.client import KafkaSettings
from models.records.record_type import RecordType
from models.runner_facts import Firing
from runners.local.kafka_broker import LocalBroker
from tests.beam_pipeline.template.conftest import Staged
from tests.beam_pipeline.template.scenario import parameters_of, score_update_and_commit
from tests.end_to_end.deployment import Deployment
from tests.job_process import job_process

ROOT = Path(__file__).resolve().parents[3]
VIEW = ("Score/NoPosition", "Score/Positions", "Score/FireEach")


def steps(firing: Firing) -> set[str]:
    pipeline = beam.Pipeline()
    build(pipeline, classic_options({"record_schema": "wine"}, []), firing, "state")
    return {one.unique_name for one in pipeline.to_runner_api().components.transforms.values() if not one.subtransforms}


def test_what_runs_on_prism_differs_from_what_is_staged_only_in_the_firing(staged: Staged) -> None:
    assert set(staged.steps) == steps("each")
    assert steps("default") < steps("each")
    assert all(name.startswith(VIEW) for name in steps("each") - steps("default"))


@contextmanager
def job(folder: Path, given: dict[str, Any]) -> Iterator[Path]:
    """Runs a job of the template for the block; returns its log."""
    config, log = folder / "job.json", folder / "job.log"
    config.write_text(json.dumps(given))
    command = [sys.executable, "-m", "tests.beam_pipeline.template.template_process", str(config)]
    with job_process(command, log):
        yield log


def test_a_job_of_the_template_scores_updates_and_commits(
    broker: LocalBroker, prism_location: Path, tmp_path: Path
) -> None:
    kafka = KafkaSettings(broker.bootstrap_servers)
    deployment = Deployment(kafka, RecordType.named("recommender"), {}, tmp_path)
    given = {"built_with": {"record_schema": "recommender"}, "parameters": parameters_of(deployment)}
    with job(tmp_path, {**given, "prism_location": str(prism_location)}) as log:
        try:
            score_update_and_commit(deployment, tmp_path)
        except AssertionError as error:
            raise AssertionError(f"{error}; the log ends:\n{log.read_text()[-3000:]}") from error
        finally:
            deployment.close()
