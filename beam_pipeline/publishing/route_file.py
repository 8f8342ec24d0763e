"""Routes in files, for `beam-serving models apply`: which models answer which data types, declared.

routes:
  wine:
    arms:
      - {name: live, model: wine, version: 3, weight: 0.9}
      - {name: canary, model: wine, version: 4, weight: 0.1, role: candidate}
  cider:
    arms:
      - {name: live, model: cider, version: 1, weight: 0.99}
      - name: canary
        model: cider
        version: 2
        weight: 0.01
        role: candidate
        guardrails: {steps: [0.01, 0.1, 0.5, 1], min-records: 1000, max-errors: 0.01, min-agreement: 0.9}
  transaction:
    split-by: [customer]
    from: {timestamp: 2026-12-01T00:00:00Z}      # or {offsets: {TOPIC: {PARTITION: OFFSET}}}
    segments:
      - when: "amount > 1000 and country in ['DE', 'FR']"
        arms: [{name: large, model: fraud-large}]
    arms: [{name: live, model: fraud, version: 7}]
  loan:
    graphs:
      loan:
        steps:
          - {name: income, model: income-risk, version: 3}
          - {name: debt, model: debt-risk, version: 1}
          - {name: risk, combine: mean, of: [income, debt]}
          - {name: decision, decide: threshold, of: [risk], at: [0.5], labels: [approve, deny]}
        output: decision
    arms: [{name: live, graph: loan}]
  recommender: null          # no route: the live models answer
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from beam_pipeline.publishing.file_entries import list_of, mapping_of
from models.errors import DescriptorError, OptionsError
from models.kafka.start_at import StartAt
from models.model_topic.graph_encoding import graph_of
from models.model_topic.guardrails import Guardrails
from models.model_topic.route import Arm, Fence, Generation, Segment

_ARM_KEYS = ("name", "model", "version", "weight", "role", "guardrails", "graph")
_GUARDRAILS = {one.name.replace("_", "-"): one.name for one in fields(Guardrails)}
_ROUTE_KEYS = ("arms", "segments", "split-by", "salt", "graphs", "from")
_FROM_KEYS = ("timestamp", "offsets")


def routes_of(where: str, content: object) -> dict[str, Generation | None]:
    """The routes under `routes` of a file, by data type; None for a data type whose route is to be deleted.

    Args:
      where: the place of the entry, for errors.
      content: the entry.

    Raises:
      OptionsError: it is malformed; the message names the place.
    """
    routes = mapping_of(where, content, None)
    return {str(name): _route(f"{where}: {name}", entry) for name, entry in routes.items()}


def _route(where: str, entry: object) -> Generation | None:
    if entry is None:
        return None
    route = mapping_of(where, entry, _ROUTE_KEYS)
    try:
        listed = list_of(where, route, "segments")
        segments = [_segment(f"{where}: segments[{place}]", one) for place, one in enumerate(listed)]
        default = Segment(_arms(where, route))
        split_by = tuple(str(one) for one in list_of(where, route, "split-by"))
        graphs = mapping_of(f"{where}: graphs", route.get("graphs", {}), None)
        made = tuple(graph_of(str(name), one) for name, one in graphs.items())
        fence = _fence(f"{where}: from", route["from"]) if "from" in route else None
        return Generation((*segments, default), fence, split_by, str(route.get("salt", "")), graphs=made)
    except DescriptorError as error:
        raise OptionsError(f"{where}: {error}") from error


def _fence(where: str, entry: object) -> Fence:
    given = mapping_of(where, entry, _FROM_KEYS)
    timestamp = given.get("timestamp")
    moment = None if timestamp is None else _milliseconds(where, timestamp)
    offsets = {}
    for topic, partitions in mapping_of(f"{where}: offsets", given.get("offsets", {}), None).items():
        for partition, offset in mapping_of(f"{where}: offsets: {topic}", partitions, None).items():
            if type(partition) is not int or type(offset) is not int or partition < 0 or offset < 0:
                raise OptionsError(f"{where}: offsets: {topic}: it must map partitions to offsets, both whole numbers")
            offsets[str(topic), partition] = offset
    return Fence(moment, offsets)


def _milliseconds(where: str, given: object) -> int:
    """A time in ISO 8601, which YAML may have parsed already, or in milliseconds; in UTC if it has no time zone."""
    text = given.isoformat() if isinstance(given, (datetime.datetime, datetime.date)) else str(given)
    try:
        start = StartAt.parse(text)
    except OptionsError:
        start = StartAt("latest")
    if start.kind != "timestamp":
        raise OptionsError(
            f"{where}: `timestamp` must be a time in ISO 8601 or in milliseconds since 1970, not {text!r}"
        )
    return start.timestamp


def _segment(where: str, entry: object) -> Segment:
    segment = mapping_of(where, entry, ("when", "arms"))
    if not isinstance(segment.get("when"), str):
        raise OptionsError(f"{where}: `when` must be a condition")
    return Segment(_arms(where, segment), segment["when"])


def _arms(where: str, entry: Mapping[str, Any]) -> tuple[Arm, ...]:
    return tuple(_arm(f"{where}: arms[{place}]", one) for place, one in enumerate(list_of(where, entry, "arms")))


def _arm(where: str, entry: object) -> Arm:
    arm = mapping_of(where, entry, _ARM_KEYS)
    version, weight, graph = arm.get("version"), arm.get("weight", 1.0), arm.get("graph")
    if graph is not None and not isinstance(graph, str):
        raise OptionsError(f"{where}: `graph` must be the name of a graph")
    if not isinstance(arm.get("model", "" if graph else None), str):
        raise OptionsError(f"{where}: `model` must be the name of a model")
    if version is not None and type(version) is not int:
        raise OptionsError(f"{where}: `version` must be a whole number, not {version!r}")
    if type(weight) not in (int, float):
        raise OptionsError(f"{where}: `weight` must be a number, not {weight!r}")
    model = arm.get("model", "")
    name = str(arm.get("name", graph or model))
    limits = _guardrails(f"{where}: guardrails", arm["guardrails"]) if "guardrails" in arm else None
    return Arm(name, model, version, float(weight), arm.get("role", "serve"), graph, limits)


def _guardrails(where: str, entry: object) -> Guardrails:
    given = mapping_of(where, entry, tuple(_GUARDRAILS))
    steps = [float(one) for one in list_of(where, given, "steps") if type(one) in (int, float)]
    if "steps" in given and len(steps) != len(given["steps"]):
        raise OptionsError(f"{where}: `steps` must be a list of numbers")
    limits: dict[str, Any] = {"steps": tuple(steps)} if "steps" in given else {}
    for key, field in _GUARDRAILS.items():
        if key in given and key != "steps":
            if type(given[key]) not in ((int,) if key in ("min-records", "min-labels") else (int, float)):
                raise OptionsError(f"{where}: `{key}` must be a number, not {given[key]!r}")
            limits[field] = given[key]
    return Guardrails(**limits)
