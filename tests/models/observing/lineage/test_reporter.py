"""What an endpoint of OpenLineage gets, checked against the schemas of its specification."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry, Resource

from models.errors import MissingExtraError, OptionsError
from models.observing.instruments import MODEL_SHARE
from models.observing.lineage.job import LineageJob
from models.observing.lineage.settings import API_KEY_VARIABLE, LineageSettings
from models.observing.observer import Labels
from models.observing.settings import ObservationSettings
from runners.local.free_ports import free_port
from tests.http_server import QuietHandler, http_server

Event = dict[str, Any]
HERE = Path(__file__).resolve().parent
SCHEMAS = {
    name: json.loads((HERE / f"{name}.json").read_text())
    for name in ("OpenLineage", "JobTypeJobFacet", "ProcessingEngineRunFacet")
}
REGISTRY: Registry[Any] = Registry().with_resources(
    (one["$id"], Resource.from_contents(one)) for one in SCHEMAS.values()
)


def check(event: Event) -> None:
    """Fails unless the event, and each facet that names a schema of the specification, follows it."""
    validate(event, event["schemaURL"])
    assert event["schemaURL"].startswith(SCHEMAS["OpenLineage"]["$id"])
    for facet in (*event["run"]["facets"].values(), *event["job"]["facets"].values()):
        validate(facet, facet["_schemaURL"])


def validate(value: Any, url: str) -> None:
    Draft202012Validator({"$ref": url}, registry=REGISTRY, format_checker=FormatChecker()).validate(value)


class Endpoint:
    """An endpoint that keeps events and can be out of order."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.authorized: set[str | None] = set()
        self.came = threading.Condition()
        self.status = 201

    def until(self, count: int, seconds: float = 20.0) -> list[Event]:
        with self.came:
            assert self.came.wait_for(lambda: len(self.events) >= count, seconds), self.events
        return self.events

    def handler(self) -> type[QuietHandler]:
        endpoint = self

        class Handler(QuietHandler):
            def do_POST(self) -> None:
                body = json.loads(self.body())
                assert self.path == "/prefix/api/v1/lineage"
                with endpoint.came:
                    if endpoint.status == 201:
                        endpoint.events.append(body)
                        endpoint.authorized.add(self.headers.get("Authorization"))
                        endpoint.came.notify_all()
                self.send(endpoint.status)

        return Handler


@pytest.fixture
def endpoint() -> Endpoint:
    return Endpoint()


@pytest.fixture
def url(endpoint: Endpoint) -> Iterator[str]:
    with http_server(endpoint.handler()) as address:
        yield f"http://{address}/prefix"


def settings(url: str) -> LineageSettings:
    return LineageSettings(url, LineageJob("wine", "kafka-1:9092,kafka-2:9092", ("records", "models"), ("results",)))


def test_start_each_swap_and_the_end_are_reported_with_the_versions(
    endpoint: Endpoint, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(API_KEY_VARIABLE, "key")
    observation = ObservationSettings(lineage=settings(url)).open()
    endpoint.until(1)
    observation.replace(MODEL_SHARE, {("wine", "quality", "1", "", "serve"): 1.0})
    endpoint.until(2)
    shares: dict[Labels, float] = {
        ("wine", "quality", "1", "old", "serve"): 0.9,
        ("wine", "quality", "2", "new", "candidate"): 0.1,
    }
    observation.replace(MODEL_SHARE, shares)
    endpoint.until(3)
    observation.close()
    events = endpoint.events
    for event in events:
        check(event)
    assert [event["eventType"] for event in events] == ["START", "RUNNING", "RUNNING", "COMPLETE"]
    assert len({event["run"]["runId"] for event in events}) == 1
    assert [event["eventTime"] for event in events] == sorted(event["eventTime"] for event in events)
    in_use = [event["run"]["facets"]["beamServing_models"]["models"] for event in events]
    assert in_use[0] == []
    assert in_use[1] == [
        {"name": "quality", "version": "1", "dataType": "wine", "arm": "", "role": "serve", "share": 1.0}
    ]
    assert [(one["version"], one["arm"], one["role"], one["share"]) for one in in_use[2]] == [
        ("1", "old", "serve", 0.9),
        ("2", "new", "candidate", 0.1),
    ]
    assert in_use[3] == in_use[2]
    last = events[-1]
    assert (last["job"]["namespace"], last["job"]["name"]) == ("beam-serving", "wine")
    assert [(one["namespace"], one["name"]) for one in last["inputs"]] == [
        ("kafka://kafka-1:9092", "records"),
        ("kafka://kafka-1:9092", "models"),
    ]
    assert [(one["namespace"], one["name"]) for one in last["outputs"]] == [("kafka://kafka-1:9092", "results")]
    assert endpoint.authorized == {"Bearer key"}


def test_an_endpoint_that_is_out_of_order_gets_the_events_later_and_holds_nothing_up(
    endpoint: Endpoint, url: str
) -> None:
    endpoint.status = 503
    began = time.monotonic()
    observation = ObservationSettings(lineage=settings(url)).open()
    observation.replace(MODEL_SHARE, {("wine", "quality", "1", "", "serve"): 1.0})
    assert time.monotonic() - began < 1
    endpoint.status = 201
    endpoint.until(2)
    observation.close()
    kinds = [event["eventType"] for event in endpoint.events]
    assert (kinds[0], kinds[-1]) == ("START", "COMPLETE")


def test_an_endpoint_that_is_away_does_not_delay_the_end() -> None:
    observation = ObservationSettings(lineage=settings(f"http://127.0.0.1:{free_port()}")).open()
    began = time.monotonic()
    observation.close()
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("marquez:5000", "not an address such as"),
        ("ftp://marquez", "not an address such as"),
        ("http://", "not an address such as"),
        ("http://[::1", "not an address such as"),
        ("http://me:secret@marquez:5000", "must not contain a user or password"),
    ],
)
def test_a_wrong_address_is_refused_without_repeating_a_password(url: str, message: str) -> None:
    with pytest.raises(OptionsError, match=f"--openlineage-url.*{message}") as refused:
        settings(url).check()
    assert "secret" not in str(refused.value)


def test_the_extra_is_named_if_the_client_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith(("openlineage.", "models.observing.lineage."))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "openlineage", None)  # as an import finds it that is not installed
    with pytest.raises(MissingExtraError, match=r"beam-serving\[lineage\]"):
        settings("http://marquez:5000").check()
