"""Routes as messages of the models topic."""

from __future__ import annotations

import json
from typing import Any

from models.encoding.single_object import bundled_codec
from models.encoding.timestamps import milliseconds_of
from models.errors import DescriptorError
from models.model_topic.graph import Graph
from models.model_topic.graph_encoding import graph_of, mapping_of
from models.model_topic.guardrails import Guardrails
from models.model_topic.route import Arm, Fence, Generation, ModelRoute, Segment


def encode_route(route: ModelRoute) -> bytes:
    """The route as a message of the models topic."""
    value = {
        "dataType": route.data_type,
        "generations": [_encode_generation(one) for one in route.generations],
        "updatedAt": route.updated_at,
        "declared": None if route.declared is None else _encode_generation(route.declared),
    }
    return bundled_codec("model_route").encode(value)


def decode_route(value: bytes) -> ModelRoute:
    """Decodes the value of a message keyed route/DATA_TYPE.

    Raises:
      DescriptorError: the message is not a route, or is corrupt.
      RouteError: the route contradicts itself.
    """
    try:
        found = bundled_codec("model_route").decode(value)
        return ModelRoute(
            found["dataType"],
            tuple(_decode_generation(one) for one in found["generations"]),
            milliseconds_of(found["updatedAt"]),
            None if found["declared"] is None else _decode_generation(found["declared"]),
        )
    except (ValueError, OverflowError, RecursionError) as error:
        raise DescriptorError(f"the message is not a route: {error}") from error


def _encode_generation(one: Generation) -> dict[str, Any]:
    return {
        "offset": one.offset,
        "fence": None if one.fence is None else _encode_fence(one.fence),
        "splitBy": list(one.split_by),
        "salt": one.salt,
        "note": one.note,
        "segments": [
            {"condition": segment.condition, "arms": [_encode_arm(arm) for arm in segment.arms]}
            for segment in one.segments
        ],
        "graphs": [{"name": graph.name, "content": json.dumps(mapping_of(graph))} for graph in one.graphs],
    }


def _encode_arm(arm: Arm) -> dict[str, Any]:
    return {
        "name": arm.name,
        "model": arm.model,
        "version": arm.version,
        "weight": arm.weight,
        "role": arm.role,
        "graph": arm.graph,
        "guardrails": None if arm.guardrails is None else _encode_guardrails(arm.guardrails),
    }


def _encode_guardrails(limits: Guardrails) -> dict[str, Any]:
    return {
        "steps": list(limits.steps),
        "minRecords": limits.min_records,
        "maxErrors": limits.max_errors,
        "minAgreement": limits.min_agreement,
        "maxSlowdown": limits.max_slowdown,
        "tolerance": limits.tolerance,
        "minAccuracy": limits.min_accuracy,
        "maxMeanError": limits.max_mean_error,
        "minLabels": limits.min_labels,
    }


def _decode_arm(value: dict[str, Any]) -> Arm:
    limits = value["guardrails"]
    return Arm(
        value["name"],
        value["model"],
        value["version"],
        value["weight"],
        value["role"],
        value["graph"],
        None
        if limits is None
        else Guardrails(
            tuple(limits["steps"]),
            limits["minRecords"],
            limits["maxErrors"],
            limits["minAgreement"],
            limits["maxSlowdown"],
            limits["tolerance"],
            limits["minAccuracy"],
            limits["maxMeanError"],
            limits["minLabels"],
        ),
    )


def _encode_fence(fence: Fence) -> dict[str, Any]:
    offsets = [
        {"topic": topic, "partition": partition, "offset": offset}
        for (topic, partition), offset in sorted(fence.offsets.items())
    ]
    return {"timestamp": fence.timestamp, "offsets": offsets}


def _decode_generation(value: dict[str, Any]) -> Generation:
    segments = tuple(
        Segment(tuple(_decode_arm(arm) for arm in segment["arms"]), segment["condition"])
        for segment in value["segments"]
    )
    fence = None if value["fence"] is None else _decode_fence(value["fence"])
    graphs = tuple(map(_decode_graph, value["graphs"]))
    return Generation(segments, fence, tuple(value["splitBy"]), value["salt"], value["offset"], graphs, value["note"])


def _decode_graph(value: dict[str, Any]) -> Graph:
    return graph_of(value["name"], json.loads(value["content"]))


def _decode_fence(value: dict[str, Any]) -> Fence:
    timestamp = None if value["timestamp"] is None else milliseconds_of(value["timestamp"])
    return Fence(timestamp, {(one["topic"], one["partition"]): one["offset"] for one in value["offsets"]})
