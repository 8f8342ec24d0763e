"""The classic template in the storage emulator, step by step."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest
from apache_beam.portability import common_urns
from apache_beam.portability.api import beam_runner_api_pb2 as proto
from apache_beam.runners.pipeline_context import PipelineContext

from beam_pipeline.cli.command_line import main
from beam_pipeline.template.parameters import RUNTIME, parameter_name
from models.secret_references import PREFIX
from tests.beam_pipeline.template.conftest import PASSWORD, SECRET, TEMPLATE, Staged
from tests.google_cloud import PLACE
from tests.test_clean_environment import OURS

HERE = Path(__file__).parent
GLOBAL_WINDOW = "beam:window_fn:global_windows:v1"
READS = ("Records/ReadPartitions", "Models/Read/ReadPartitions")
SOURCES = (*READS, "Records/FindPartitions", "Models/Read/FindPartitions")
GIVEN = {
    "kafka_bootstrap_servers": "broker-1:9092",
    "records_topic": "given-records",
    "models_topic": "given-models",
    "results_topic": "given-results",
    "dead_letter_topic": "given-letters",
    "group": "given-group",
    "start": "1700000000000",
}


def par_do(step: proto.PTransform) -> proto.ParDoPayload:
    assert step.spec.urn == common_urns.primitives.PAR_DO.urn
    return proto.ParDoPayload.FromString(step.spec.payload)


def outputs(staged: Staged, step: proto.PTransform) -> list[proto.PCollection]:
    return [staged.graph.components.pcollections[name] for name in step.outputs.values()]


def strategy(staged: Staged, collection: str) -> proto.WindowingStrategy:
    of = staged.graph.components.pcollections[collection].windowing_strategy_id
    return staged.graph.components.windowing_strategies[of]


# --- The job.


def test_the_job_is_a_streaming_one_of_runner_v2_and_streaming_engine(staged: Staged) -> None:
    assert staged.job["type"] == "JOB_TYPE_STREAMING"
    assert staged.job["environment"]["version"]["job_type"] == "FNAPI_STREAMING"
    assert {"use_runner_v2", "enable_streaming_engine"} <= set(staged.job["environment"]["experiments"])


def test_the_workers_are_of_our_kind(staged: Staged) -> None:
    (pool,) = staged.job["environment"]["workerPools"]
    assert pool["machineType"] == "n2-standard-4"
    assert pool["autoscalingSettings"] == {"algorithm": "AUTOSCALING_ALGORITHM_BASIC", "maxNumWorkers": 5}
    assert staged.job["labels"] == {"application": "beam-serving"}


def test_the_wheel_is_staged_and_no_main_session(staged: Staged) -> None:
    (environment,) = staged.graph.components.environments.values()
    names = [
        proto.ArtifactStagingToRolePayload.FromString(one.role_payload).staged_name for one in environment.dependencies
    ]
    assert any(name.startswith("beam_serving-") and name.endswith(".whl") for name in names)
    assert not [name for name in [*names, *staged.objects] if "session" in name]


# --- The graph.


def test_every_read_is_unbounded_and_splittable_with_a_coder_of_ours(staged: Staged) -> None:
    for name in SOURCES:
        step = staged.step(name)
        assert "ReadingCoder" in _coder(staged.graph.components, par_do(step).restriction_coder_id), name
        assert {one.is_bounded for one in outputs(staged, step)} == {proto.IsBounded.UNBOUNDED}, name


def test_nothing_is_read_that_is_bounded(staged: Staged) -> None:
    reads = [step for step in staged.steps.values() if step.spec.urn == common_urns.deprecated_primitives.READ.urn]
    assert reads == []


def test_the_side_input_is_an_iterable_that_each_position_fires_anew(staged: Staged) -> None:
    score = staged.step("Score/Score")
    (tag,) = par_do(score).side_inputs
    view = par_do(score).side_inputs[tag]
    assert view.access_pattern.urn == common_urns.side_inputs.ITERABLE.urn
    fired = strategy(staged, score.inputs[tag])
    assert fired.trigger.repeat.subtrigger.element_count.element_count == 1
    assert fired.accumulation_mode == proto.AccumulationMode.DISCARDING
    assert fired.window_fn.urn == GLOBAL_WINDOW


def test_the_side_input_is_fired_once_before_any_model_is_known(staged: Staged) -> None:
    """The first pane is a flattened constant: without it, the records would wait for the first firing."""
    flatten = staged.step("Score/Positions")
    makers = [name for name, step in staged.steps.items() if set(step.outputs.values()) & set(flatten.inputs.values())]
    assert any(name.startswith("Score/NoPosition") for name in makers)
    assert len(flatten.inputs) == 2


def test_records_are_in_the_global_window_with_the_default_trigger(staged: Staged) -> None:
    for name in (*SOURCES, "WriteResults/Produce"):
        for output in staged.step(name).outputs.values():
            assert strategy(staged, output).trigger.WhichOneof("trigger") == "default", name
            assert strategy(staged, output).window_fn.urn == GLOBAL_WINDOW, name


def test_offsets_are_joined_in_keyed_state(staged: Staged) -> None:
    join = par_do(staged.step("CommitOffsets/Join"))
    assert set(join.state_specs) == {"frontier"}
    assert common_urns.requirements.REQUIRES_STATEFUL_PROCESSING.urn in staged.graph.requirements


# --- Names and coders: what a running job is updated by.


def test_the_names_and_coders_of_the_steps_are_those_of_the_jobs_that_run(staged: Staged) -> None:
    path = HERE / "job_graph.txt"
    found = graph_lines(staged.graph.components)
    assert found == path.read_text().splitlines(), (
        "the job graph changed: a running job is updated only with --transform_name_mapping, or not at all. "
        f"If that is meant, say so in the change log and write into {path.name}:\n" + "\n".join(found)
    )


def graph_lines(components: proto.Components) -> list[str]:
    """A line for each step: its name, and the coders of its outputs and state."""
    lines = []
    for step in components.transforms.values():
        if step.subtransforms:
            continue
        given = sorted(_coder(components, components.pcollections[one].coder_id) for one in step.outputs.values())
        kept = _kept(components, step)
        lines.append(f"{step.unique_name} -> {', '.join(given) or 'nothing'}{kept}")
    return sorted(lines)


def _kept(components: proto.Components, step: proto.PTransform) -> str:
    if step.spec.urn != common_urns.primitives.PAR_DO.urn:
        return ""
    payload = par_do(step)
    restriction = payload.restriction_coder_id
    states = [
        f"{name} {_coder(components, spec.read_modify_write_spec.coder_id)}"
        for name, spec in payload.state_specs.items()
    ]
    restrictions = [f"restriction {_coder(components, restriction)}"] if restriction else []
    kept = [*restrictions, *states]
    return f"; keeps {', '.join(kept)}" if kept else ""


def _coder(components: proto.Components, name: str) -> str:
    return str(PipelineContext(components).coders.get_by_id(name))


# --- Secrets.


def test_the_secret_of_a_reference_is_not_read_to_build_a_template(staged: Staged) -> None:
    assert staged.secrets_read == []


def test_the_secret_of_a_reference_is_nowhere_in_what_was_staged_and_said(
    staged: Staged, do_fns: dict[str, dict[str, Any]]
) -> None:
    found = {text for one in do_fns.values() for text in one["texts"]}
    assert f"{PREFIX}{SECRET}" in found  # so that the pickles, which are compressed, were looked into
    assert not [text for text in found if PASSWORD in text]
    assert not [name for name, content in staged.objects.items() if PASSWORD.encode() in content]
    assert f"{TEMPLATE} is staged" in staged.said
    assert "sdk_pipeline_options" in staged.said  # what Beam logs was heard, too
    assert PASSWORD not in staged.said


def test_not_even_the_reference_is_in_the_jobs_parameters(staged: Staged) -> None:
    assert SECRET not in json.dumps(staged.job)


def test_a_password_in_plain_is_refused_and_nothing_is_staged(
    staged: Staged, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["template", "build", "--kind=classic", "--location=gs://serving-bucket/templates/other"]
    assert main([*words, "--record-schema=wine", "--kafka-config=sasl.password=hunter2", *PLACE]) == 2
    said = capsys.readouterr()
    assert "put it into Secret Manager" in said.err
    assert "hunter2" not in said.err + said.out


# --- A worker of a job that was started from it.


WORKER = """
import dataclasses, json, pathlib, sys
from apache_beam.internal import pickler
from apache_beam.runners.worker.sdk_worker_main import create_harness
given = json.loads(sys.stdin.read())
environment = {"PIPELINE_OPTIONS": json.dumps(given), "CONTROL_API_SERVICE_DESCRIPTOR": 'url: "localhost:1"'}
create_harness(environment, dry_run=True)

def texts(value, seen):
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for one in value.values():
            yield from texts(one, seen)
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from texts(one, seen)
    elif hasattr(value, "timestamp") and hasattr(value, "kind"):
        yield f"{value.kind} {value.timestamp}"
    elif type(value).__module__.split(".")[0] in ("transforms", "models"):
        yield from texts(vars(value), seen)

for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    do_fn, arguments, *_ = pickler.loads(path.read_bytes())
    kind = type(do_fn)
    line = {"step": path.name, "class": kind.__name__, "file": sys.modules[kind.__module__].__file__}
    print(json.dumps({**line, "texts": sorted(texts((do_fn, arguments), set()))}))
"""


@pytest.fixture(scope="module")
def worker(staged: Staged, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python interpreter with the staged wheel installed, and no other code of ours."""
    folder = tmp_path_factory.mktemp("worker")
    (name,) = (name for name in staged.objects if name.endswith(".whl"))
    wheel = folder / Path(name).name
    wheel.write_bytes(staged.objects[name])
    environment = folder / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    (packages,) = environment.glob("lib/python*/site-packages")
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(packages)]
    subprocess.run([*install, str(wheel)], check=True)
    # The .pth files that lie there are not read: an editable install of this checkout is not borrowed too.
    (packages / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return environment / "bin" / "python"


def unpickled(staged: Staged, worker: Path, folder: Path, given: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Every DoFn of the staged graph by its step, as a worker of a job with these parameters unpickles it."""
    pickles = folder / "pickles"
    pickles.mkdir()
    names = {}
    for number, (name, step) in enumerate(sorted(staged.steps.items())):
        if step.spec.urn == common_urns.primitives.PAR_DO.urn:
            names[f"{number:03}"] = name
            (pickles / f"{number:03}").write_bytes(par_do(step).do_fn.payload)
    options = staged.job["environment"]["sdkPipelineOptions"]["options"]
    # As the service hands them over: whole numbers as such, though the template's JSON knows only floats.
    whole = {name: int(one) if isinstance(one, float) and one.is_integer() else one for name, one in options.items()}
    started = {"options": {**whole, **given}, "display_data": []}
    done = subprocess.run(
        [str(worker), "-c", WORKER, str(pickles)], cwd=folder, input=json.dumps(started), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return {names[one["step"]]: one for one in map(json.loads, done.stdout.splitlines())}


@pytest.fixture(scope="module")
def do_fns(staged: Staged, worker: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    return unpickled(staged, worker, tmp_path_factory.mktemp("started"), GIVEN)


def test_every_do_fn_unpickles_with_only_the_staged_wheel(do_fns: dict[str, dict[str, Any]], worker: Path) -> None:
    ours = {one["class"]: one["file"] for one in do_fns.values() if one["class"] in OURS}
    assert ours.keys() == OURS
    assert all(Path(file).is_relative_to(worker.parent.parent) for file in ours.values()), ours


def test_the_parameters_of_the_job_are_in_the_do_fns(do_fns: dict[str, dict[str, Any]]) -> None:
    everywhere = {text for one in do_fns.values() for text in one["texts"]}
    assert everywhere >= {value for name, value in GIVEN.items() if name != "start"}
    assert not [text for text in everywhere if text in {f"{{{parameter_name(name)}}}" for name in RUNTIME}]
    read = next(one for name, one in do_fns.items() if name.startswith("Records/ReadPartitions"))
    assert "timestamp 1700000000000" in read["texts"]


def test_the_workers_get_the_reference_to_the_secret(do_fns: dict[str, dict[str, Any]]) -> None:
    writers = [one for one in do_fns.values() if one["class"] == "ProduceMessages"]
    assert writers
    assert all(f"{PREFIX}{SECRET}" in one["texts"] for one in writers)


def test_a_parameter_that_may_be_left_out_is_then_the_default(do_fns: dict[str, dict[str, Any]]) -> None:
    (score,) = (one for one in do_fns.values() if one["class"] == "ScoreBatch")
    assert not [text for text in score["texts"] if "status" in text]


def test_a_job_without_a_parameter_that_it_needs_fails_in_its_workers_with_the_name(
    staged: Staged, worker: Path, tmp_path: Path
) -> None:
    given = {name: value for name, value in GIVEN.items() if name != "models_topic"}
    with pytest.raises(AssertionError, match=r"started without the template's parameter 'models_topic'"):
        unpickled(staged, worker, tmp_path, given)
