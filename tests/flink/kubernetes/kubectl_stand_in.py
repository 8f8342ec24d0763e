"""A stand-in for kubectl with a cluster in a file: what is applied is kept, and a Flink operator acts upon it.

Run as a program. The file named by $CLUSTER holds the objects, the CRDs, and how the operator will act; each call is
written to $CLUSTER.calls.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import yaml

CLUSTER = Path(os.environ["CLUSTER"])
FLINK = ("FlinkDeployment", "FlinkSessionJob")


def main(words: list[str]) -> int:
    """Does one call."""
    with CLUSTER.with_suffix(".calls").open("a") as calls:
        calls.write(" ".join(words) + "\n")
    cluster = json.loads(CLUSTER.read_text())
    try:
        printed = answer(words, cluster)
    except LookupError as error:
        print(error.args[0], file=sys.stderr)
        return 1
    CLUSTER.write_text(json.dumps(cluster))
    print(printed)
    return 0


def answer(words: list[str], cluster: dict[str, Any]) -> str:
    """What is printed; raises LookupError for what kubectl would refuse."""
    if words[0] == "version":
        return json.dumps({"kustomizeVersion": cluster["kustomize"]})
    if words[:2] == ["config", "current-context"]:
        return found(cluster["context"], "error: current-context is not set")
    if words[0] == "kustomize":
        return found(cluster["rendered"].get(Path(words[1]).name), "no such overlay")
    if "--raw=/readyz" in words:
        return found(cluster["ready"], "Unable to connect to the server")
    if words[:2] == ["get", "customresourcedefinitions"]:
        return "\n".join(f"customresourcedefinition.apiextensions.k8s.io/{name}" for name in cluster["crds"])
    if words[0] == "get":
        return get(cluster, words)
    if words[0] in ("apply", "create", "replace"):
        for manifest in yaml.safe_load_all(sys.stdin.read()):
            put(cluster, manifest, words[0])
        return ""
    if words[0] == "delete":
        return delete(cluster, words)
    if words[0] in ("wait", "rollout"):
        return found(cluster["needs"], "error: timed out waiting for the condition")
    raise LookupError(f"unknown command {words}")


def found(value: Any, otherwise: str) -> str:
    """The value, or the error when there is none."""
    if not value:
        raise LookupError(otherwise)
    return str(value)


def key(kind: str, name: str, namespace: str) -> str:
    """How an object is kept."""
    return f"{kind.lower()}/{namespace}/{name}"


def get(cluster: dict[str, Any], words: list[str]) -> str:
    """An object as JSON, or a list of them; the operator has made a step since."""
    if words[2].startswith("--"):
        return json.dumps({"items": cluster["listed"].get(words[1], [])})
    namespace = next(word.partition("=")[2] for word in words if word.startswith("--namespace="))
    kept = cluster["objects"].get(key(words[1], words[2], namespace))
    if kept is None:
        return ""
    operate(cluster, kept)
    return json.dumps(kept)


def delete(cluster: dict[str, Any], words: list[str]) -> str:
    """Deletes an object; one of Flink stays, and is marked, when no operator acts on its finalizer."""
    namespace = next((word.partition("=")[2] for word in words if word.startswith("--namespace=")), "")
    place = key(words[1], words[2], namespace)
    kept = cluster["objects"].get(place)
    if kept is not None and kept["kind"] in FLINK and not cluster["operator"]:
        kept["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        CLUSTER.write_text(json.dumps(cluster))
        raise LookupError("error: timed out waiting for the condition")
    cluster["objects"].pop(place, None)
    return ""


def put(cluster: dict[str, Any], manifest: dict[str, Any], command: str) -> None:
    """Keeps an object: a new generation when its spec has changed."""
    metadata = manifest["metadata"]
    place = key(manifest["kind"], metadata["name"], metadata.get("namespace", ""))
    before = cluster["objects"].get(place)
    if command == "create" and before:
        raise LookupError("AlreadyExists")
    if command == "replace" and metadata["resourceVersion"] != before["metadata"]["resourceVersion"]:
        raise LookupError("Conflict: the object has been modified")
    old: dict[str, Any] = before["metadata"] if before else {"resourceVersion": "0", "generation": 0}
    changed = before is None or before.get("spec") != manifest.get("spec")
    metadata["resourceVersion"] = str(int(old["resourceVersion"]) + 1)
    metadata["generation"] = old["generation"] + changed
    cluster["objects"][place] = {**manifest, "status": (before or {}).get("status", {})}


def operate(cluster: dict[str, Any], kept: dict[str, Any]) -> None:
    """One step of the operator: it sees a new spec, and at the next look has done what the test wants it to."""
    if kept["kind"] not in FLINK:
        return
    status, generation = kept["status"], kept["metadata"]["generation"]
    if seen_generation(status) < generation:
        was_running = status.get("jobStatus", {}).get("state") == "RUNNING"
        status.update(**report_of(cluster, generation), lifecycleState="UPGRADING")
        if "job" in kept["spec"]:
            given = kept["spec"]["job"].get("initialSavepointPath")
            made = f"s3://beam-serving/savepoints/{generation}" if was_running else "KUBERNETES_OPERATOR_LAST_STATE"
            status["jobStatus"] = {"state": "RECONCILING", "upgradeSavepointPath": given or made}
    elif status["lifecycleState"] == "UPGRADING":
        status.update(lifecycleState=cluster["outcome"]["lifecycleState"], error=cluster["outcome"].get("error"))
        if "jobStatus" in status:
            status["jobStatus"]["state"] = cluster["outcome"]["job"]


def report_of(cluster: dict[str, Any], generation: int) -> dict[str, Any]:
    """How the operator names the version of the spec: those before 1.8 do so in the spec that they reconciled last."""
    if cluster["operator"] == "1.7":
        last = {"spec": {}, "resource_metadata": {"metadata": {"generation": generation}}}
        return {"reconciliationStatus": {"lastReconciledSpec": json.dumps(last)}}
    return {"observedGeneration": generation}


def seen_generation(status: dict[str, Any]) -> int:
    """The version of the spec that the operator has acted on."""
    if "reconciliationStatus" in status:
        last = json.loads(status["reconciliationStatus"]["lastReconciledSpec"])
        return int(last["resource_metadata"]["metadata"]["generation"])
    return int(status.get("observedGeneration", 0))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
