"""Models that arrive before, during and after the records that they score; one shared deployment runs throughout."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from models.artifacts.digest import digest_of_path
from models.model_topic.reader import ModelsTopicReader
from tests.end_to_end.deployment import Deployment
from tests.saved_models import save_failing_model, save_garbage, save_recommender

X = {"x": ("user",)}
SaveVersion = Callable[..., Path]


def record(data_type: str, user: int = 1, products: tuple[int, ...] = ()) -> dict[str, object]:
    return {"user": user, "products": list(products), "dataType": data_type}


def serve(serving: Deployment, name: str, model: Path, inline: bool = True) -> int:
    """Publishes a version, waits until it serves, and returns its number."""
    version = serving.publish(name, model, X, inline).model_version
    serving.status("serving", name, version)
    return version


def test_a_record_before_its_model_says_so_and_later_ones_are_scored(
    serving: Deployment, version_model: SaveVersion
) -> None:
    (before,) = serving.score(record("early"))
    assert (before.error or "").startswith("No model server defined")
    assert before.outputs == {}
    assert before.version is None
    serve(serving, "early", version_model(1))
    (after,) = serving.score(record("early"))
    assert (after.error, after.version, after.values("version")) == (None, 1, [1])


def test_the_worker_reports_what_it_has_applied_and_what_its_models_answer(
    serving: Deployment, version_model: SaveVersion
) -> None:
    serve(serving, "reported", version_model(1))
    serving.score(record("reported"))
    serving.eventually(lambda: _is_current(serving), "the worker has applied everything")
    (statistics, *_) = (event.statistics for event in serving.status("statistics", "reported", 1))
    assert statistics is not None
    assert statistics.digest is not None and len(statistics.digest) == 64
    assert statistics.p50 == pytest.approx(statistics.maximum, rel=0.05)
    assert [(arm.data_type, arm.role, arm.share) for arm in statistics.arms] == [("reported", "serve", 1.0)]


def _is_current(serving: Deployment) -> bool:
    states = [event.state for event in serving.all_status() if event.state is not None]
    with closing(ModelsTopicReader(serving.kafka, serving.topic("models"))) as reader:
        end = reader.end()
    return bool(states) and states[-1].position == end and "reported/1" not in states[-1].waiting


@pytest.mark.parametrize("inline", [True, False], ids=["inline", "by location"])
def test_a_newer_version_takes_over(serving: Deployment, version_model: SaveVersion, inline: bool) -> None:
    name = f"newer-{inline}"
    for version in (1, 2):
        model = version_model(version)
        serve(serving, name, model, inline)
        (result,) = serving.score(record(name))
        assert (result.version, result.values("version")) == (version, [version])
        source = result.metadata["modelSourceLocation"]
        assert inline or source == str(model)
        assert len(result.metadata["digest"]) == 64
        assert inline or result.metadata["digest"] == digest_of_path(model)


def test_a_model_scores_the_data_type_it_names(serving: Deployment, version_model: SaveVersion) -> None:
    serving.publish("typed-model", version_model(1), X, data_type="typed")
    serving.status("serving", "typed-model", 1)
    typed, other = serving.score(record("typed"), record("typed-model"))
    assert typed.version == 1
    assert typed.metadata["modelName"] == "typed-model"
    assert other.error


def test_a_model_that_cannot_be_loaded_leaves_the_old_one_under_its_own_version(
    serving: Deployment, version_model: SaveVersion, tmp_path: Path
) -> None:
    serve(serving, "broken", version_model(1))
    serving.publish("broken", save_garbage(tmp_path / "garbage"), X, inline=False)
    first, second = serving.status("failed", "broken", 2, number=2)[:2]
    assert first.error
    assert second.at - first.at >= 900, "the second try comes after a pause"
    (result,) = serving.score(record("broken"))
    assert (result.error, result.version, result.values("version")) == (None, 1, [1])
    serve(serving, "broken", version_model(3))
    (result,) = serving.score(record("broken"))
    assert (result.version, result.values("version")) == (3, [3])


def test_records_are_scored_by_the_old_model_while_the_new_one_loads(
    serving: Deployment, version_model: SaveVersion
) -> None:
    slow = version_model(2, load_delay=4.0)
    serve(serving, "slow", version_model(1))
    serving.publish("slow", slow, X)
    loading = serving.status("loading", "slow", 2)[0].at
    slowest = 0.0
    by_the_old = 0
    while True:
        sent = time.monotonic()
        (result,) = serving.score(record("slow"))
        assert result.values("version") == [result.version]
        if result.version == 2:
            break
        slowest = max(slowest, time.monotonic() - sent)
        by_the_old += 1
    served = serving.status("serving", "slow", 2)[0].at
    assert served - loading > 3_500
    assert by_the_old >= 4
    assert slowest < 3.0


def test_a_huge_model_by_location_is_swapped_in_while_records_flow(
    serving: Deployment, version_model: SaveVersion
) -> None:
    huge = version_model(2, size_mb=200)
    serve(serving, "huge", version_model(1))
    serving.publish("huge", huge, X, inline=False)
    versions: list[int] = []
    deadline = time.monotonic() + 60
    while (not versions or versions[-1] != 2) and time.monotonic() < deadline:
        (result,) = serving.score(record("huge"))
        assert result.values("version") == [result.version]
        versions.append(result.version or 0)
    assert versions[-1] == 2
    assert versions == sorted(versions)
    serving.status("released", "huge", 1)


def test_retired_models_score_nothing_and_rollback_brings_them_back(
    serving: Deployment, version_model: SaveVersion
) -> None:
    serve(serving, "retiring", version_model(1))
    serve(serving, "retiring", version_model(2))
    serving.models.rollback("retiring")
    serving.status("serving", "retiring", 1, number=2)
    (result,) = serving.score(record("retiring"))
    assert result.values("version") == [1]
    serving.models.retire("retiring")
    serving.status("retired", "retiring", 1)
    (result,) = serving.score(record("retiring"))
    assert (result.error or "").startswith("No model server defined")
    assert result.version is None
    serving.models.rollback("retiring", to=2)
    serving.status("serving", "retiring", 2, number=2)
    (result,) = serving.score(record("retiring"))
    assert result.values("version") == [2]


def test_an_error_is_told_in_exactly_the_results_of_the_records_that_cause_it(
    serving: Deployment, tmp_path: Path
) -> None:
    serve(serving, "failing", save_failing_model(tmp_path / "model"))
    results = serving.score(*(record("failing", user=-1 if place == 7 else 4) for place in range(20)))
    assert [place for place, result in enumerate(results) if result.error] == [7]
    assert "x is below 0" in (results[7].error or "")
    assert results[7].version == 1
    assert all(result.values("root") == [2.0] for place, result in enumerate(results) if place != 7)


def test_an_empty_array_gives_an_empty_answer(serving: Deployment, tmp_path: Path) -> None:
    model = save_recommender(tmp_path / "model")
    serving.publish("empty", model, {"users": ("user",), "products": ("products",)})
    serving.status("serving", "empty", 1)
    empty, full, alone = serving.score(record("empty"), record("empty", 2, (1000, 2000)), record("empty"))
    for result in (empty, alone):
        assert result.error is None
        assert result.outputs == {"predictions": {"shape": [0, 1], "values": []}}
        assert result.version == 1
    assert full.values("predictions") == [3.0, 4.0]


def test_names_and_keys_may_be_any_text(serving: Deployment, version_model: SaveVersion) -> None:
    name = "Empfehlung für 東京 🗼"
    serve(serving, name, version_model(1))
    key, headers = "Schlüssel-鍵".encode(), (("spur", "ñ".encode()), ("spur", None), ("leer", b""))
    (result,) = serving.score(record(name), key=key, headers=headers)
    assert (result.metadata["modelName"], result.version) == (name, 1)
    assert (result.key, result.headers) == (key, headers)
    assert result.record == record(name)
