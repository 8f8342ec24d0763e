"""The commands that change routes, against a real broker."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from beam_pipeline.cli.command_line import main
from models.guarding.guard import RouteGuard
from models.guarding.verdicts import Decision, Verdict
from models.kafka.client import KafkaSettings
from models.model_topic.guardrails import Guardrails
from models.model_topic.route import Fence
from models.model_topic.route_publisher import RoutePublisher
from tests.beam_pipeline.cli.commands.test_commands import Cli, command, kafka
from tests.saved_models import save_version_model

__all__ = ["command", "kafka"]

Shown = pytest.CaptureFixture[str]


@pytest.fixture
def published(command: Cli, tmp_path: Path, capsys: Shown) -> Callable[..., None]:
    """Publishes a version of model m."""

    def publish(version: int, *words: str) -> None:
        path = str(save_version_model(tmp_path / str(version), version))
        ours = ["models", "publish", "--name", "m", "--type", "tensorflow-saved-model", "--input", "x=user"]
        assert command(*ours, "--path", path, *words) == 0
        capsys.readouterr()

    return publish


def route(command: Cli, kafka: KafkaSettings) -> list[tuple[str, str, float, str]]:
    routes = RoutePublisher(kafka, command.topics["models-topic"]).routes()
    return [(arm.name, arm.label, arm.weight, arm.role) for arm in routes["m"].route.newest.arms] if routes else []


def test_a_version_goes_from_shadow_to_canary_to_all_records_and_back(
    command: Cli, kafka: KafkaSettings, published: Callable[..., None], capsys: Shown
) -> None:
    published(1)
    published(2, "--no-promote")
    assert command("models", "shadow", "m/2", "--share", "50%") == 0
    assert capsys.readouterr().out == "m: live m/1 100 %; shadow shadow-m-2 m/2 50 %\n"
    assert command("models", "canary", "m/2") == 0
    assert route(command, kafka)[-1] == ("canary", "m/2", 0.1, "candidate")
    assert command("models", "withdraw", "m", "--arm", "shadow-m-2") == 0
    assert command("models", "promote", "m/2", "--fence", "1500ms") == 0
    assert "live m/2 100 %, from 20" in capsys.readouterr().out
    assert route(command, kafka) == [("live", "m/2", 1.0, "serve")]
    assert command("models", "rollback", "m") == 0
    assert [one[1] for one in route(command, kafka)] == ["m/1", "m/2"]
    assert command("models", "rollback", "m", "--to", "1", "--fence", "2s") == 0
    assert route(command, kafka) == [("live", "m/1", 1.0, "serve")]
    assert command("models", "withdraw", "m") == 0
    assert route(command, kafka) == []
    capsys.readouterr()
    assert command("models", "history", "m") == 0
    told = capsys.readouterr().out
    assert "version 2 was published" in told
    assert "candidate canary m/2 10 %" in told
    assert "the route was deleted" in told


def guardrails(command: Cli, kafka: KafkaSettings) -> Guardrails | None:
    return RoutePublisher(kafka, command.topics["models-topic"]).routes()["m"].route.newest.arms[-1].guardrails


def test_a_canary_is_guarded_by_labels(
    command: Cli, kafka: KafkaSettings, tmp_path: Path, published: Callable[..., None]
) -> None:
    published(1)
    published(2, "--no-promote")
    limits = ["--min-accuracy", "85%", "--max-mean-error", "0.5", "--min-labels", "20"]
    assert command("models", "canary", "m/2", "--steps", "5%,100%", *limits) == 0
    wanted = Guardrails((0.05, 1.0), min_accuracy=0.85, max_mean_error=0.5, min_labels=20)
    assert guardrails(command, kafka) == wanted
    file = tmp_path / "routes.yaml"
    file.write_text(GUARDED)
    assert command("models", "apply", "-f", str(file)) == 0
    assert guardrails(command, kafka) == wanted


GUARDED = """
routes:
  m:
    arms:
      - {name: live, model: m, version: 1, weight: 0.95}
      - name: canary
        model: m
        version: 2
        weight: 0.05
        role: candidate
        guardrails: {steps: [0.05, 1], min-accuracy: 0.85, max-mean-error: 0.5, min-labels: 20}
"""


def test_a_version_is_published_with_a_fence(
    command: Cli, kafka: KafkaSettings, published: Callable[..., None]
) -> None:
    published(1)
    published(2, "--fence", "2s")
    (before, after) = RoutePublisher(kafka, command.topics["models-topic"]).routes()["m"].route.generations
    assert (before.arms[0].label, after.arms[0].label) == ("m/1", "m/2")
    assert after.fence is not None


def test_a_version_published_beside_a_route_says_that_the_route_decides(
    command: Cli, tmp_path: Path, published: Callable[..., None], capsys: Shown
) -> None:
    published(1)
    assert command("models", "promote", "m/1") == 0
    path = str(save_version_model(tmp_path / "2", 2))
    words = ["models", "publish", "--name", "m", "--type", "tensorflow-saved-model", "--input", "x=user"]
    assert command(*words, "--path", path) == 0
    assert "the route of 'm' decides what it scores" in capsys.readouterr().out


FILE = """
routes:
  m:
    salt: one
    split-by: [user]
    segments:
      - when: user > 100
        arms: [{name: large, model: m, version: 2}]
    arms:
      - {name: live, model: m, version: 1, weight: 3}
      - {name: canary, model: m, version: 2, weight: 1, role: candidate}
"""


def test_a_file_is_applied_once_and_says_what_it_changes(
    command: Cli, kafka: KafkaSettings, tmp_path: Path, published: Callable[..., None], capsys: Shown
) -> None:
    published(1)
    published(2)
    file = tmp_path / "routes.yaml"
    file.write_text(FILE)
    apply = ["models", "apply", "-f", str(file)]
    change = "if user > 100: large m/2 100 %; otherwise: live m/1 75 %; candidate canary m/2 25 %, split by user"
    assert command(*apply, "--dry-run") == 0
    assert capsys.readouterr().out == f"m: no route -> {change}\n"
    assert route(command, kafka) == []
    assert command(*apply) == 0
    capsys.readouterr()
    assert command(*apply) == 0
    assert capsys.readouterr().out == "m: unchanged\n"
    file.write_text("routes: {m: null}")
    assert command(*apply) == 0
    assert route(command, kafka) == []
    capsys.readouterr()
    assert command(*apply) == 0
    assert capsys.readouterr().out == "m: unchanged, no route\n"


@pytest.mark.parametrize(
    ("place", "fence"),
    [
        ("{timestamp: 2030-01-01T00:00:00Z}", Fence(1_893_456_000_000)),
        ("{timestamp: 1893456000000}", Fence(1_893_456_000_000)),
        ("{timestamp: '2030-01-01T01:00:00+01:00'}", Fence(1_893_456_000_000)),
        ("{offsets: {records: {0: 12, 1: 7}}}", Fence(None, {("records", 0): 12, ("records", 1): 7})),
    ],
)
def test_a_file_says_from_which_records_on_a_route_holds(
    command: Cli, kafka: KafkaSettings, tmp_path: Path, published: Callable[..., None], place: str, fence: Fence
) -> None:
    published(1)
    file = tmp_path / "routes.yaml"
    file.write_text(f"routes: {{m: {{arms: [{{name: new, model: m, version: 1}}], from: {place}}}}}")
    assert command("models", "apply", "-f", str(file)) == 0
    routes = RoutePublisher(kafka, command.topics["models-topic"]).routes()
    assert [one.fence for one in routes["m"].route.generations] == [None, fence]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("routes: [", "while parsing"),
        ("other: {}", "it must contain `models`, a mapping of names, `routes`"),
        ("routes: {m: {arm: []}}", "m: 'arm' is unknown; it may contain arms, segments, split-by, salt"),
        ("routes: {m: {arms: []}}", "m: no arm of the route answers records"),
        ("routes: {m: {arms: [{version: 1}]}}", "arms[0]: `model` must be the name of a model"),
        ("routes: {m: {arms: [{model: m, version: one}]}}", "`version` must be a whole number, not 'one'"),
        ("routes: {m: {arms: [{model: m, weight: heavy}]}}", "`weight` must be a number, not 'heavy'"),
        ("routes: {m: {arms: [{model: m, role: boss}]}}", "role 'boss' is not one of serve, candidate, shadow"),
        ("routes: {m: {arms: {}}}", "`arms` must be a list"),
        ("routes: {m: {segments: [{arms: [{model: m}]}], arms: [{model: m}]}}", "`when` must be a condition"),
        ("routes: {m: {segments: [{when: 'a =', arms: [{model: m}]}], arms: [{model: m}]}}", "cannot be read"),
        ("routes: {m: 1}", "m: it must be a mapping"),
        ("routes: {m: {arms: [{model: m, version: 1}], from: {timestamp: soon}}}", "`timestamp` must be a time"),
        ("routes: {m: {arms: [{model: m, version: 1}], from: {offsets: {t: {0: x}}}}}", "partitions to offsets"),
        ("routes: {m: {arms: [{model: m, version: 1}], from: {}}}", "either a timestamp or offsets"),
        ("routes: {m: {arms: [{model: m}], from: {timestamp: 1}}}", "a route with a fence must name versions"),
    ],
)
def test_a_file_that_is_no_file_of_routes_is_a_usage_error(
    command: Cli, tmp_path: Path, capsys: Shown, content: str, reason: str
) -> None:
    file = tmp_path / "routes.yaml"
    file.write_text(content)
    assert command("models", "apply", "--file", str(file)) == 2
    assert reason in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "status", "reason"),
    [
        (["promote", "m"], 2, "'m' is not NAME/VERSION"),
        (["promote", "m/0"], 2, "'m/0' is not NAME/VERSION"),
        (["promote", "m/1", "--fence", "soon"], 2, "--fence 'soon' is not a duration"),
        (["canary", "m/1", "--share", "some"], 2, "--share 'some' is not a share"),
        (["apply", "--file", "nowhere.yaml"], 2, "nowhere.yaml"),
        (["canary", "m/1", "--min-accuracy", "90%"], 2, "--min-accuracy needs --steps"),
        (["canary", "m/1", "--steps", "1", "--max-mean-error", "small"], 2, "--max-mean-error 'small' is not a number"),
        (["canary", "m/1", "--steps", "1", "--min-accuracy", "120%"], 2, "min_accuracy of a candidate must be a share"),
        (["promote", "m/9"], 1, "version m/9 is not in topic"),
        (["canary", "m/2", "--share", "100%"], 1, "between 0 and 1"),
        (["promote", "m/2", "--fence", "100ms"], 1, "at least 1 s"),
        (["canary", "m/2", "--data-type", "other"], 1, "no model answers 'other' records yet"),
        (["withdraw", "m"], 1, "data type 'm' has no route"),
        (["withdraw", "m", "--fence", "2s"], 2, "--fence needs --arm"),
        (["rollback", "m", "--fence", "2s"], 2, "--fence needs a route"),
    ],
)
def test_what_cannot_be_is_refused_with_a_reason(
    command: Cli, published: Callable[..., None], capsys: Shown, words: list[str], status: int, reason: str
) -> None:
    published(1)
    published(2, "--no-promote")
    assert command("models", *words) == status
    assert reason in capsys.readouterr().err


def test_a_version_is_either_fenced_or_not_live(capsys: Shown) -> None:
    words = ["models", "publish", "--name", "m", "--type", "tensorflow-saved-model", "--path", "p"]
    assert main([*words, "--models-topic", "m", "--bootstrap-servers", "h:1", "--no-promote", "--fence", "2s"]) == 2
    assert "exclude each other" in capsys.readouterr().err


@pytest.fixture
def applied(command: Cli, tmp_path: Path, capsys: Shown) -> Callable[[str], str]:
    """Applies a file, and returns the output of the command."""

    def apply(content: str) -> str:
        file = tmp_path / "routes.yaml"
        file.write_text(content)
        capsys.readouterr()
        assert command("models", "apply", "-f", str(file)) == 0
        return capsys.readouterr().out

    return apply


@pytest.fixture
def decides(command: Cli, kafka: KafkaSettings) -> Callable[[Decision], None]:
    """Publishes the change that a guard publishes after a verdict about the route's candidate."""

    def decide(decision: Decision) -> None:
        guard = RouteGuard(kafka, command.topics["models-topic"], "status", "group", lambda _: True, lambda: False)
        judged = RoutePublisher(kafka, command.topics["models-topic"]).routes()["m"].route.newest
        guard._publish("m", judged, judged.arms[-1], Verdict(decision, "by its figures"))

    return decide


@pytest.mark.parametrize(
    ("decision", "arms"),
    [
        ("back", "live m/1 100 % (m/2 taken out: by its figures)"),
        ("forward", "live m/2 100 % (m/2 from 5 % to 100 %: by its figures)"),
    ],
)
def test_a_file_that_is_applied_again_does_not_undo_what_the_guard_has_decided(
    command: Cli,
    kafka: KafkaSettings,
    published: Callable[..., None],
    applied: Callable[[str], str],
    decides: Callable[[Decision], None],
    decision: Decision,
    arms: str,
) -> None:
    published(1)
    published(2, "--no-promote")
    started = "-> live m/1 95 %; candidate canary m/2 5 %"
    assert started in applied(GUARDED)
    assert applied(GUARDED) == "m: unchanged\n"
    decides(decision)
    decided = route(command, kafka)
    for _ in range(2):
        assert applied(GUARDED) == f"m: unchanged; the guard has decided: {arms}\n"
    assert route(command, kafka) == decided
    changed = GUARDED.replace("min-labels: 20", "min-labels: 30")
    assert started in applied(changed)
    decides(decision)
    assert applied(changed) == f"m: unchanged; the guard has decided: {arms}\n"
    assert command("models", "canary", "m/2", "--share", "30%") == 0
    assert started in applied(changed)


def test_a_file_that_is_applied_again_does_not_take_steps_back(
    published: Callable[..., None], applied: Callable[[str], str], decides: Callable[[Decision], None]
) -> None:
    published(1)
    published(2, "--no-promote")
    steps = GUARDED.replace("[0.05, 1]", "[0.05, 0.4, 0.8, 1]")
    applied(steps)
    decides("forward")
    decides("forward")
    assert "has decided: live m/1 20 %; candidate canary m/2 80 %" in applied(steps)
    decides("back")
    assert "m/2 taken out" in applied(steps)
