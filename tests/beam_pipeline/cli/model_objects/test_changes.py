"""Objects of versions, and the events about their changes."""

from __future__ import annotations

from dataclasses import replace

from beam_pipeline.cli.model_objects.changes import changes_between, with_last_errors
from beam_pipeline.cli.model_objects.model_object import ModelObject, object_of, slug
from models.model_topic.descriptor import ModelDescriptor
from models.model_topic.publisher import ListedVersion
from models.status.events import ArmShare
from models.status.model_status import ModelStatus

STATUS = ModelStatus("wine", 1, None, "serving", 1_700_000_000_000, 120, 2, 1.0, 0.5, 4.0, None, workers=2, p99=3.75)


def shown(version: int = 1, **fields: object) -> ModelObject:
    descriptor = ModelDescriptor("wine", "onnx", version, model_source_location="s3://models/wine")
    status = replace(STATUS, version=version, **fields)  # type: ignore[arg-type]
    return object_of(ListedVersion(descriptor, 5, False, "live"), status)


def serving(version: int, share: float = 1.0, role: str = "serve") -> ModelObject:
    return shown(version, arms=(ArmShare("wine", "live", role, share),))


def reasons(before: list[ModelObject], after: list[ModelObject]) -> list[tuple[str, str]]:
    known = {one.name: one.status for one in before}
    return [(one.reason, one.message) for one in changes_between(known, after)]


def test_an_object_has_what_was_published_and_what_workers_report() -> None:
    one = serving(2, 0.9)
    assert one.name == "wine-2"
    assert one.spec == {
        "model": "wine",
        "version": 2,
        "type": "onnx",
        "dataType": "wine",
        "location": "s3://models/wine",
    }
    assert one.status == {
        "state": "serving",
        "answers": "wine 90 %",
        "workers": 2,
        "records": 120,
        "errors": 2,
        "p99": "3.75 ms",
        "since": "2023-11-14T22:13:20Z",
    }


def test_a_version_that_some_worker_serves_is_serving_whatever_another_reports() -> None:
    assert shown(state="failed", last_error="no memory").status["state"] == "serving"
    assert shown(state="failed", workers=0).status["state"] == "failed"


def test_names_of_objects_are_valid_and_do_not_collide() -> None:
    names = ["wine", "Wine", "wine!", "w" * 249, "w" * 248 + "x", "Ωμέγα", "!", "a--b", "-a"]
    made = [slug(name) for name in names]
    assert len(set(made)) == len(names)
    for one in made:
        assert len(one) <= 63
        assert one.strip("-") == one
        assert set(one) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")


def test_a_swap_is_one_event_about_each_version() -> None:
    before = [serving(1), shown(2, state="live", workers=0)]
    after = [shown(1, state="released", workers=0), serving(2)]
    assert reasons(before, after) == [
        ("Released", "wine/1 no longer serves; it is released"),
        ("Serving", "wine/2 serves: wine 100 %, in place of wine/1"),
    ]
    assert reasons(after, after) == []


def test_a_version_of_which_no_worker_reports_is_not_said_to_be_live() -> None:
    gone = shown(1, state="live", workers=0)
    assert reasons([serving(1)], [gone]) == [("Released", "wine/1 no longer serves; no worker reports about it")]


def test_a_version_that_stays_loaded_as_the_previous_one_was_replaced_too() -> None:
    assert ("Serving", "wine/2 serves: wine 100 %, in place of wine/1") in reasons([serving(1)], [shown(1), serving(2)])


def test_shares_that_change_are_events_and_counts_are_not() -> None:
    before = [serving(1, 0.9), serving(2, 0.1, "candidate")]
    after = [serving(1, 0.5), serving(2, 0.5, "candidate")]
    assert reasons(before, after) == [
        ("Answering", "wine/1 answers wine 50 %"),
        ("Answering", "wine/2 answers wine 50 % (candidate)"),
    ]
    assert reasons([shown(usage=1)], [shown(usage=2, p99=9.0)]) == []


def test_a_refused_model_is_reported_once_for_each_reason() -> None:
    refused = shown(3, state="failed", workers=0, last_error="the digest differs")
    (change,) = changes_between({}, [refused])
    assert (change.kind, change.reason) == ("Warning", "Refused")
    assert change.message == "wine/3 cannot be loaded: the digest differs"
    assert reasons([refused], [refused]) == []
    again = with_last_errors({refused.name: refused.status}, [shown(3, state="loading", workers=0)])
    assert reasons([refused], again) == reasons(again, [refused]) == []
    assert "lastError" not in with_last_errors({refused.name: refused.status}, [shown(3)])[0].status
    other = shown(3, state="failed", workers=0, last_error="no such file")
    assert reasons([refused], [other]) == [("Refused", "wine/3 cannot be loaded: no such file")]
