"""The direction of imports, read from the sources: beam_pipeline -> transforms, runners -> models."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# The parts of the application that each package may import, besides itself.
ALLOWED = {
    "models": set[str](),
    "transforms": {"models"},
    "runners": {"models"},
    "beam_pipeline": {"models", "runners", "transforms"},
}
OURS = {*ALLOWED, "tests", "benchmarks"}

# Each engine is known to as few modules of `models` as possible: one file, relative to models/, is one line.
ENGINES = {
    # The gRPC scorer packs its tensors with TensorFlow's own functions.
    # Warm-up requests are files of TensorFlow's, with tensors in them.
    "tensorflow": {
        "scorers/servers/tensorflow_serving_grpc.py",
        "scorers/tensorflow/graph.py",
        "scorers/tensorflow/lite.py",
        "scorers/tensorflow/operations.py",
        "scorers/tensorflow/saved_model.py",
        "scorers/tensorflow/session.py",
        "scorers/tensorflow/warm_up_requests.py",
        "tensor_protos.py",
    },
    "keras": {"scorers/tensorflow/keras.py"},
    "torch": {
        "scorers/pytorch/archive_records.py",
        "scorers/pytorch/exported_program.py",
        "scorers/pytorch/program.py",
        "scorers/pytorch/scorer.py",
        "scorers/pytorch/torch_script.py",
    },
    "tensorflow_serving": {"observing/payloads/prediction_log.py", "scorers/servers/tensorflow_serving_grpc.py"},
    "openlineage": {
        "observing/lineage/endpoint.py",
        "observing/lineage/events.py",
        "observing/lineage/reporter.py",
    },
    "open_inference": {"scorers/servers/open_inference_grpc.py"},
    "grpc": {"scorers/servers/grpc_channels.py", "scorers/servers/tensorflow_serving_grpc.py"},
    "huggingface_hub": {"locations/hugging_face_hub.py"},
    "urllib3": {"locations/http_files.py", "locations/mlflow_registry.py", "scorers/servers/rest_client.py"},
    "opentelemetry": {
        "observing/otlp_metrics.py",
        "observing/spans.py",
        "observing/telemetry.py",
        "observing/trace_context.py",
    },
    "datasketches": {"observing/drift/sketches.py"},
    "confluent_kafka": {
        "kafka/client.py",
        "kafka/election.py",
        "kafka/message_sender.py",
        "kafka/partition_reader.py",
        "kafka/standalone_consumer.py",
        "kafka/topic_identities.py",
        "kafka/topics.py",
        "model_topic/reader.py",
        "model_topic/route_publisher.py",
        "model_topic/transactions.py",
        "observing/drift/monitor.py",
        "records/registry.py",
        # The guard is a member of a group, and reads the status topic.
        "guarding/guard.py",
        "guarding/feedback.py",
    },
}


def sources(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imports(source: str) -> Iterator[tuple[int, str]]:
    """The line and full name of every module that the source imports, at any depth; relative imports as dots."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, "." * node.level + (node.module or "")


def offences(package: str, forbidden: set[str]) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in sources(package)
        for line, name in imports(path.read_text(encoding="utf-8"))
        if name.split(".")[0] in forbidden
    ]


@pytest.mark.parametrize("package", ALLOWED)
def test_a_package_imports_only_what_lies_below_it(package: str) -> None:
    assert sources(package)
    assert offences(package, OURS - {package} - ALLOWED[package]) == []


def test_models_knows_no_beam() -> None:
    assert offences("models", {"apache_beam"}) == []


@pytest.mark.parametrize("engine", ENGINES)
def test_an_engine_is_known_to_its_modules_only(engine: str) -> None:
    users = {str(Path(found.split(":")[0]).relative_to("models")) for found in offences("models", {engine})}
    assert users <= ENGINES[engine], f"name the new user of {engine} in ENGINES if there is no other way"


@pytest.mark.parametrize("package", ALLOWED)
def test_modules_are_imported_by_their_one_name(package: str) -> None:
    """A relative import, or beam_pipeline.models, would give a module two names and its classes two identities."""
    found = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in sources(package)
        for line, name in imports(path.read_text(encoding="utf-8"))
        if _is_a_second_name(name)
    ]
    assert found == []


def _is_a_second_name(name: str) -> bool:
    first, *rest = name.split(".")
    return first == "" or (first in ALLOWED and bool(rest) and rest[0] in ALLOWED)


def test_the_reading_sees_imports_within_functions() -> None:
    source = "import a.b\ndef f():\n    from c.d import e\n    from .g import h\n"
    assert sorted(imports(source)) == [(1, "a.b"), (3, "c.d"), (4, ".g")]
