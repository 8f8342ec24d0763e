"""`models apply` for declared models, against a real broker."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from models.kafka.client import KafkaSettings
from models.model_topic.history import read_history
from models.model_topic.publisher import ModelPublisher
from models.model_topic.route_publisher import RoutePublisher
from tests.beam_pipeline.cli.commands.test_commands import Cli, command, kafka
from tests.saved_models import save_version_model

__all__ = ["command", "kafka"]

Shown = pytest.CaptureFixture[str]
Apply = Callable[..., tuple[int, str, str]]


@pytest.fixture
def topic(command: Cli, kafka: KafkaSettings) -> ModelPublisher:
    return ModelPublisher(kafka, command.topics["models-topic"])


@pytest.fixture
def apply(command: Cli, tmp_path: Path, capsys: Shown) -> Apply:
    """Applies one file; returns the exit status, and what was printed on both streams."""

    def run(content: str, *words: str) -> tuple[int, str, str]:
        file = tmp_path / "models.yaml"
        file.write_text(content)
        capsys.readouterr()
        status = command("models", "apply", "-f", str(file), *words)
        return status, *capsys.readouterr()

    return run


@pytest.fixture
def version(tmp_path: Path) -> Callable[..., str]:
    """The entry of a version whose model answers a number; the model is saved."""

    def entry(number: int, *, answer: int | None = None, more: str = "") -> str:
        path = tmp_path / f"model-{answer or number}"
        if not path.exists():
            save_version_model(path, answer or number)
        return f"{number}: {{type: tensorflow-saved-model, location: {path}, inputs: {{x: user}}{more}}}"

    return entry


@pytest.fixture
def written(command: Cli, kafka: KafkaSettings) -> Callable[[], int]:
    """The number of messages in the topic; not its end, before which there are markers of transactions, too."""
    return lambda: len(read_history(kafka, command.topics["models-topic"]))


def states(topic: ModelPublisher) -> list[tuple[int, str]]:
    return [(one.descriptor.model_version, one.state) for one in topic.versions()]


def changes(printed: str) -> list[str]:
    """The printed lines without the descriptions of models."""
    return [line for line in printed.splitlines() if not line.startswith(" ")]


def test_declared_versions_are_published_once_and_the_declared_one_is_live(
    apply: Apply, topic: ModelPublisher, written: Callable[[], int], version: Callable[..., str], tmp_path: Path
) -> None:
    one = f"models: {{m: {{live: 1, versions: {{{version(1)}}}}}}}"
    published = [f"m: new version 1, from {tmp_path}/model-1", "m: live version none -> 1"]
    status, printed, _ = apply(one, "--dry-run")
    assert (status, changes(printed)) == (0, published)
    assert "  input      x " in printed
    assert written() == 0
    assert changes(apply(one)[1]) == published
    assert written() == 2
    assert apply(one) == (0, "m: unchanged\n", "")
    assert written() == 2
    two = f"models: {{m: {{live: 2, versions: {{{version(1)}, {version(2)}}}}}}}"
    assert changes(apply(two)[1])[1:] == ["m: live version 1 -> 2"]
    assert states(topic) == [(1, "previous"), (2, "live")]
    (first, _) = topic.versions()
    assert first.descriptor.inputs == {"x": ("user",)}
    assert first.descriptor.digest is not None


def test_the_file_decides_which_version_is_live_unless_it_does_not_say(
    apply: Apply, topic: ModelPublisher, version: Callable[..., str]
) -> None:
    def file(live: str) -> str:
        return f"models: {{m: {{{live}versions: {{{version(1)}, {version(3)}}}}}}}"

    apply(file("live: 1, "))
    assert states(topic) == [(1, "live"), (3, "")]
    topic.rollback("m", 3)
    assert apply(file("")) == (0, "m: unchanged\n", "")
    assert apply(file("live: 1, ")) == (0, "m: live version 3 -> 1\n", "")
    assert apply(file("live: null, ")) == (0, "m: live version 1 -> none\n", "")
    assert apply(file("live: null, ")) == (0, "m: unchanged\n", "")
    assert states(topic) == [(1, "previous"), (3, "")]
    # What is published by hand afterwards gets a number that no file has.
    assert apply("models: {m: {live: 3}}") == (0, "m: live version none -> 3\n", "")


def test_models_are_published_before_routes_that_name_them(
    apply: Apply, command: Cli, kafka: KafkaSettings, version: Callable[..., str]
) -> None:
    arms = "{name: live, model: m, version: 1, weight: 3}, {name: new, model: m, version: 2, role: candidate}"
    file = f"models: {{m: {{versions: {{{version(1)}, {version(2)}}}}}}}\nroutes: {{m: {{arms: [{arms}]}}}}"
    status, printed, _ = apply(file)
    assert status == 0
    assert changes(printed)[-1] == "m: no route -> live m/1 75 %; candidate new m/2 25 %"
    routes = RoutePublisher(kafka, command.topics["models-topic"]).routes()
    assert [arm.label for arm in routes["m"].route.newest.arms] == ["m/1", "m/2"]
    assert apply(file)[1] == "m: unchanged\nm: unchanged\n"


def test_a_version_never_changes(apply: Apply, topic: ModelPublisher, version: Callable[..., str]) -> None:
    apply(f"models: {{m: {{versions: {{{version(2)}}}}}}}")
    for changed, what in (
        (version(2, answer=7), "source location"),
        (version(2, more=", signature: other"), "signature"),
        (version(2, more=", options: {max-batch: 5}, description: d"), "description, options"),
    ):
        status, _, error = apply(f"models: {{m: {{versions: {{{changed}}}}}}}")
        assert status == 1
        assert f"version 2 was published with another {what}" in error
    status, _, error = apply(f"models: {{m: {{versions: {{{version(1)}, {version(2)}}}}}}}")
    assert status == 1
    assert "version 1 cannot be published, because a number is never assigned again" in error
    assert "the lowest free number is 3" in error
    status, _, error = apply("models: {m: {live: 9}}")
    assert status == 1
    assert "version 9 should be live; existing versions: 2" in error
    assert states(topic) == [(2, "")]


def test_nothing_is_published_if_one_version_cannot_serve(
    apply: Apply, written: Callable[[], int], version: Callable[..., str]
) -> None:
    broken = version(1).replace("x: user", "x: usr")
    file = f"models: {{good: {{live: 1, versions: {{{version(1)}}}}}, bad: {{live: 1, versions: {{{broken}}}}}}}"
    for words in ((), ("--dry-run",)):
        status, _, error = apply(file, *words)
        assert status == 1
        assert "'bad' was not published" in error
    assert written() == 0


def test_a_folder_is_applied_as_one_file(
    command: Cli, topic: ModelPublisher, version: Callable[..., str], tmp_path: Path, capsys: Shown
) -> None:
    folder = tmp_path / "mounted"
    (folder / "..data").mkdir(parents=True)
    (folder / "..data" / "m.yaml").write_text(f"models: {{m: {{live: 1, versions: {{{version(1)}}}}}}}")
    (folder / "m.yaml").symlink_to("..data/m.yaml")  # as Kubernetes mounts a ConfigMap
    (folder / "routes.yml").write_text("routes: {m: {arms: [{model: m, version: 1}]}}")
    (folder / "notes.txt").write_text("not read")
    assert command("models", "apply", "-f", str(folder)) == 0
    assert "m: no route -> m m/1 100 %" in capsys.readouterr().out
    (folder / "again.yaml").write_text("models: {m: {live: 1}}")
    assert command("models", "apply", "-f", str(folder)) == 2
    assert "m is declared twice" in capsys.readouterr().err
    (folder / "again.yaml").write_text("routes: {m: null}")
    assert command("models", "apply", "-f", str(folder)) == 2
    assert "routes: m is declared twice" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert command("models", "apply", "-f", str(tmp_path / "empty")) == 2
    assert "no file that ends in .yaml or .yml" in capsys.readouterr().err


def test_a_file_without_entries_changes_nothing(apply: Apply, written: Callable[[], int]) -> None:
    status, printed, _ = apply("models: {}\nroutes:\n")
    assert (status, "declares no models and no routes" in printed) == (0, True)
    assert written() == 0


def test_golden_samples_are_read_from_beside_the_file(
    apply: Apply, topic: ModelPublisher, version: Callable[..., str], tmp_path: Path
) -> None:
    record = '{"user": 5, "products": [1], "dataType": "m"}'
    golden = tmp_path / "m.golden.jsonl"
    golden.write_text(f'{{"record": {record}, "outputs": {{"version": 2}}}}\n')
    file = f"models: {{m: {{versions: {{{version(1, more=', golden: m.golden.jsonl, tolerance: 0.01')}}}}}}}"
    status, _, error = apply(file)
    assert status == 1
    assert "golden" in error
    golden.write_text(golden.read_text().replace('"version": 2', '"version": 1'))
    assert apply(file)[0] == 0
    (published,) = topic.versions()
    assert published.descriptor.golden is not None
    assert published.descriptor.golden.absolute_tolerance == 0.01
    assert apply(file)[1] == "m: unchanged\n"


VERSION = "type: onnx, location: /m"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("models: []", "models: it must be a mapping"),
        ("models: {a/b: {}}", "must not be empty or contain '/'"),
        ("models: {route: {}}", "reserved"),
        ("models: {m: {lives: 1}}", "'lives' is unknown; it may contain versions, live"),
        ("models: {m: {live: one}}", "live: a version must be a whole number from 1, not 'one'"),
        ("models: {m: {versions: {0: {}}}}", "a version must be a whole number from 1, not 0"),
        ("models: {m: {versions: [1]}}", "versions: it must be a mapping"),
        ("models: {m: {versions: {1: {location: /m}}}}", "versions: 1: `type` is missing"),
        ("models: {m: {versions: {1: {type: onnx}}}}", "versions: 1: `location` is missing"),
        ("models: {m: {versions: {1: {type: magic, location: /m}}}}", "`type` 'magic' is not one of"),
        ("models: {m: {versions: {1: {type: onnx, location: 5}}}}", "`location` must be a text, not 5"),
        ("models: {m: {versions: {1: {%s, path: /m}}}}", "'path' is unknown"),
        ("models: {m: {versions: {1: {%s, inputs: {x: [1]}}}}}", "x must be the name of a field or a list of them"),
        ("models: {m: {versions: {1: {%s, options: {x: [1]}}}}}", "options: x must be a text or a number"),
        ("models: {m: {versions: {1: {%s, tolerance: 1}}}}", "`tolerance` needs `golden`"),
        ("models: {m: {versions: {1: {%s, golden: g, tolerance: -1}}}}", "`tolerance` must be a number from 0, not -1"),
        ("models: {m: {versions: {1: {%s, golden: 1}}}}", "`golden` must be the name of a file"),
        ("models: {m: {versions: {1: {%s, golden: no.jsonl}}}}", "no.jsonl"),
    ],
)
def test_a_malformed_entry_is_a_usage_error_that_names_its_place(apply: Apply, content: str, reason: str) -> None:
    status, _, error = apply(content.replace("%s", VERSION))
    assert status == 2
    assert reason in error
