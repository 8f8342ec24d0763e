"""Every manifest against the schema of its kind, and proof that the schemas refuse what is wrong."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.flink.kubernetes import overlays
from tests.flink.kubernetes.schemas import KUBERNETES_VERSIONS, UnknownKindError, problems, strict

Break = Callable[[dict[str, Any]], object]


def manifest(overlay: str, kind: str) -> dict[str, Any]:
    return next(iter(overlays.of_kind(overlay, kind).values()))


@pytest.mark.parametrize("version", KUBERNETES_VERSIONS)
def test_every_manifest_is_valid(version: str) -> None:
    found = {name: problems(one, version) for name, one in overlays.every()}
    assert len(found) > 60
    assert {name: said for name, said in found.items() if said} == {}


def test_all_kinds_that_a_deployment_wants_are_there() -> None:
    kinds = {name: {one["kind"] for one in overlays.rendered(name)} for name in overlays.NAMES}
    everywhere = {"FlinkDeployment", "PodDisruptionBudget", "NetworkPolicy", "KafkaTopic", "KafkaUser", "PodMonitor"}
    for name, found in kinds.items():
        assert found >= everywhere, name
    assert kinds["aws"] >= {"InferenceService", "Service", "Deployment"}
    assert kinds["google-cloud"] == kinds["aws"]
    assert "FlinkSessionJob" in kinds["session"]


# One change a kind, each of another sort, and what is said of it.
BROKEN: list[tuple[str, str, Break, str]] = [
    ("aws", "FlinkDeployment", lambda one: one["spec"].update(taskManagers={}), "'taskManagers' was unexpected"),
    ("aws", "FlinkDeployment", lambda one: one["spec"]["job"].update(upgradeMode="latest"), "'latest' is not one of"),
    ("aws", "FlinkDeployment", lambda one: one["spec"].update(flinkVersion="v9_9"), "'v9_9' is not one of"),
    (
        "google-cloud",
        "FlinkDeployment",
        lambda one: one["spec"]["taskManager"]["podTemplate"]["spec"]["containers"][1].update(volumeMount=[]),
        "spec/taskManager/podTemplate/spec/containers/1: .*'volumeMount' was unexpected",
    ),
    (
        "google-cloud",
        "FlinkDeployment",
        lambda one: one["spec"]["flinkConfiguration"].update({"taskmanager.numberOfTaskSlots": 1}),
        "1 is not of type 'string'",
    ),
    ("session", "FlinkSessionJob", lambda one: one["spec"].update(deployment="x"), "'deployment' was unexpected"),
    ("aws", "KafkaTopic", lambda one: one["spec"].update(partitions="one"), "'one' is not of type 'integer'"),
    ("aws", "KafkaTopic", lambda one: one["spec"].update(replica=3), "'replica' was unexpected"),
    ("aws", "KafkaUser", lambda one: one["spec"]["authentication"].update(type="none"), "'none' is not one of"),
    (
        "aws",
        "PodMonitor",
        lambda one: one["spec"]["podMetricsEndpoints"][0].update(intervall="1s"),
        "'intervall' was unexpected",
    ),
    ("aws", "PodMonitor", lambda one: one["spec"].pop("selector"), "'selector' is a required property"),
    (
        "aws",
        "InferenceService",
        lambda one: one["spec"]["predictor"]["model"].update(storageURI="x"),
        "'storageURI' was unexpected",
    ),
    (
        "aws",
        "InferenceService",
        lambda one: one["spec"]["predictor"]["model"]["ports"][0].update(port=1),
        "'port' was unexpected",
    ),
    ("aws", "Deployment", lambda one: one["spec"].update(replica=2), "'replica' was unexpected"),
    ("aws", "Service", lambda one: one["spec"]["ports"][0].pop("port"), "'port' is a required property"),
    ("aws", "PodDisruptionBudget", lambda one: one["spec"].update(minUnavailable=1), "was unexpected"),
    ("aws", "NetworkPolicy", lambda one: one["spec"].update(podSelector=[]), r"\[\] is not of type 'object'"),
    ("aws", "Role", lambda one: one["rules"][0].pop("verbs"), "'verbs' is a required property"),
    ("aws", "Namespace", lambda one: one["metadata"].update(label={}), "'label' was unexpected"),
    ("session", "FlinkSessionJob", lambda one: one.pop("metadata"), "'metadata' is a required property"),
]


@pytest.mark.parametrize(("overlay", "kind", "damage", "said"), BROKEN, ids=[f"{one[1]}-{one[3]}" for one in BROKEN])
def test_a_broken_manifest_is_refused(overlay: str, kind: str, damage: Break, said: str) -> None:
    broken = manifest(overlay, kind)
    assert problems(broken) == []
    damage(broken)
    found = problems(broken)
    assert any(re.search(said, one) for one in found), found


def test_a_kind_without_a_schema_is_refused_not_passed_over() -> None:
    for change in ({"kind": "FlinkDeploymnet"}, {"apiVersion": "flink.apache.org/v1"}):
        with pytest.raises(UnknownKindError):
            problems({**manifest("aws", "FlinkDeployment"), **change})


def test_what_a_custom_schema_keeps_open_stays_open() -> None:
    kept = strict({"type": "object", "properties": {"a": {}}, "x-kubernetes-preserve-unknown-fields": True})
    assert "additionalProperties" not in kept
    of_strings = strict({"type": "object", "additionalProperties": {"type": "string"}})
    assert of_strings["additionalProperties"] == {"type": "string"}
    either = strict({"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]})
    assert either == {"anyOf": [{"type": "integer"}, {"type": "string"}]}
    assert strict({"type": "string", "nullable": True}) == {"type": ["string", "null"]}
