"""Those who read the status topic, whatever its messages contain."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, get_args

import orjson
from hypothesis import given
from hypothesis import strategies as st

from beam_pipeline.cli.model_objects.model_object import object_of
from beam_pipeline.cli.status_tables import status_tables
from beam_pipeline.cli.tables import literal_console
from models.guarding.guard import ReportedStatistics
from models.guarding.verdicts import judge
from models.model_topic.descriptor import ModelDescriptor
from models.model_topic.guardrails import Guardrails
from models.model_topic.publisher import ListedVersion
from models.status.events import EventKind
from models.status.model_status import StatusFold
from tests.models.fakes import JSON_VALUES
from tests.models.status.test_events import FULL

LISTED = ListedVersion(ModelDescriptor("wine", "onnx", 2, model_source_location="/m"), 0, False, "live")
LIMITS = Guardrails(min_records=1, min_labels=1, min_accuracy=0.9, max_mean_error=1.0)


def places_in(value: Any, *above: str | int) -> Iterator[tuple[str | int, ...]]:
    """The places of all values within a value."""
    yield above
    for place, one in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places_in(one, *above, place)


def replaced(value: Any, place: Sequence[str | int], by: Any) -> Any:
    """The value, with another one at a place within it."""
    if not place:
        return by
    first, *others = place
    changed = dict(value) if isinstance(value, dict) else dict(enumerate(value))
    changed[first] = replaced(value[first], others, by)
    return changed if isinstance(value, dict) else list(changed.values())


@given(st.sampled_from(list(places_in(json.loads(FULL.to_json())))), JSON_VALUES, st.sampled_from(get_args(EventKind)))
def test_whatever_a_message_contains_it_is_skipped_or_every_reader_can_work_with_it(
    place: Sequence[str | int], value: Any, kind: str
) -> None:
    message = json.dumps(replaced({**json.loads(FULL.to_json()), "kind": kind}, place, value)).encode()
    fold, reported = StatusFold(), ReportedStatistics("group")
    event = fold.add(message)
    assert (event is None) == (fold.malformed == 1) == bool(fold.notice)
    models, workers = fold.statuses([LISTED]), fold.workers(10, "id", 1_000)
    literal_console(100).print(status_tables(models, workers, 1_000))
    orjson.dumps([*map(asdict, models), *map(asdict, workers)])
    assert object_of(LISTED, models[0]).status["state"]
    if event is not None:
        assert event.key
        reported.add(event)
        judge(LIMITS, reported.total(("wine", 7, "new")))
