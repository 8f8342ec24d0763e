"""What each kind of manifest may hold, as JSON Schema in which an unknown field is an error.

Kubernetes' own kinds come as such schemas. A CRD's is turned into one here, as the API server reads it: fields that it
does not name are refused unless it says that they are kept. KServe's is made of its client's models.
"""

from __future__ import annotations

import ast
import importlib
import json
import re
import sys
import zipfile
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.flink.kubernetes.fetched import maven_artifacts, pod_monitor_crd, python_packages, strimzi_crds

# The oldest that flink/README.md names, and the newest that there are schemas of.
KUBERNETES_VERSIONS = ("1.29.0", "1.37.0")

Schema = dict[str, Any]


class UnknownKindError(LookupError):
    """No schema is known for a kind in this version."""


def problems(manifest: Mapping[str, Any], kubernetes: str = KUBERNETES_VERSIONS[-1]) -> list[str]:
    """What is wrong with a manifest: one line each, with the place.

    Raises:
      UnknownKindError: when nothing says what is right.
    """
    definitions = kubernetes_definitions(kubernetes)
    schema = _custom_schemas(kubernetes).get((manifest["apiVersion"], manifest["kind"]))
    if schema is None:
        schema = _of_kubernetes(manifest, definitions)
    # References are to the definitions, wherever the schema comes from.
    whole = {**schema, "$defs": definitions}
    errors = _jsonschema().Draft202012Validator(whole).iter_errors(manifest)
    return sorted(f"{'/'.join(map(str, error.absolute_path))}: {error.message[:300]}" for error in errors)


@cache
def _jsonschema() -> Any:
    folder = str(python_packages())
    if folder not in sys.path:
        sys.path.append(folder)  # behind all else: nothing that is installed is hidden
    return importlib.import_module("jsonschema")


@cache
def kubernetes_definitions(version: str) -> dict[str, Schema]:
    """Kubernetes' own types by their full names, with references among each other."""
    folder = python_packages() / "kubernetes_validate" / "kubernetes-json-schema" / f"v{version}-local-strict"
    definitions: dict[str, Schema] = json.loads((folder / "_definitions.json").read_text(encoding="utf-8"))["$defs"]
    return definitions


def _of_kubernetes(manifest: Mapping[str, Any], definitions: Mapping[str, Schema]) -> Schema:
    group, _, version = manifest["apiVersion"].rpartition("/")
    for name, definition in definitions.items():
        for kind in definition.get("x-kubernetes-group-version-kind", []):
            if (kind["group"], kind["version"], kind["kind"]) == (group, version, manifest["kind"]):
                return {"$ref": f"#/$defs/{name}"}
    raise UnknownKindError(f"no schema for {manifest['apiVersion']} {manifest['kind']}")


@cache
def _custom_schemas(kubernetes: str) -> dict[tuple[str, str], Schema]:
    schemas = {(group, kind): schema for crd in _crds() for group, kind, schema in _versions(crd)}
    schemas["serving.kserve.io/v1beta1", "InferenceService"] = _kserve(kubernetes_definitions(kubernetes))
    return schemas


def _crds() -> Iterator[Schema]:
    (operator,) = maven_artifacts().glob("flink-kubernetes-operator-api-*.jar")
    with zipfile.ZipFile(operator) as jar:
        for name in jar.namelist():
            if re.fullmatch(r"META-INF/fabric8/.*-v1\.yml", name):
                yield yaml.safe_load(jar.read(name))
    for path in (*sorted(strimzi_crds().iterdir()), pod_monitor_crd()):
        yield yaml.safe_load(path.read_text(encoding="utf-8"))


def _versions(crd: Schema) -> Iterator[tuple[str, str, Schema]]:
    for version in crd["spec"]["versions"]:
        if version.get("served"):
            schema = strict(version["schema"]["openAPIV3Schema"])
            # The API server adds these three to every CRD.
            schema["properties"].update({"apiVersion": {"type": "string"}, "kind": {"type": "string"}})
            schema["properties"]["metadata"] = {"$ref": "#/$defs/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"}
            schema["required"] = sorted({*schema.get("required", []), "apiVersion", "kind", "metadata"})
            yield f"{crd['spec']['group']}/{version['name']}", crd["spec"]["names"]["kind"], schema


def strict(schema: Any) -> Any:
    """A CRD's structural schema as JSON Schema: what it does not name is refused, unless it says otherwise."""
    if isinstance(schema, list):
        return [strict(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: value for key, value in schema.items() if not key.startswith("x-kubernetes-")}
    for key in ("items", "additionalProperties", "not", "allOf", "anyOf", "oneOf"):
        if key in made:
            made[key] = strict(made[key])
    if "properties" in made:
        made["properties"] = {name: strict(one) for name, one in made["properties"].items()}
        # Alternatives (anyOf ...) repeat properties without a type; only what is a type of its own is closed.
        closed = "type" in made and not schema.get("x-kubernetes-preserve-unknown-fields")
        if closed and "additionalProperties" not in made:
            made["additionalProperties"] = False
    if schema.get("x-kubernetes-int-or-string"):
        made.pop("type", None)
        made["anyOf"] = [{"type": "integer"}, {"type": "string"}]
    if made.pop("nullable", False) and "type" in made:
        made["type"] = [made["type"], "null"]
    return made


def _kserve(definitions: Mapping[str, Schema]) -> Schema:
    """The schema of an InferenceService: its fields' types are written into the client's models as names."""
    models = {path.stem.replace("_", ""): path for path in (python_packages() / "kserve" / "models").glob("*.py")}
    return _KServe(models, definitions).object("V1beta1InferenceService")


class _KServe:
    def __init__(self, models: Mapping[str, Path], definitions: Mapping[str, Schema]) -> None:
        self._models = models
        self._definitions = definitions

    def object(self, name: str) -> Schema:
        """The schema of one of KServe's own types."""
        # Read, and not imported: the client would want all that it needs to run.
        tree = ast.parse(self._models[name.lower()].read_text(encoding="utf-8"))
        tables = {
            node.targets[0].id: ast.literal_eval(node.value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Assign)
            and isinstance(node.targets[0], ast.Name)
            and node.targets[0].id in ("openapi_types", "attribute_map")
        }
        properties = {
            tables["attribute_map"][attribute]: self._type(kind) for attribute, kind in tables["openapi_types"].items()
        }
        return {"type": "object", "properties": properties, "additionalProperties": False}

    def _type(self, name: str) -> Schema:
        simple = {"str": "string", "int": "integer", "bool": "boolean", "float": "number"}
        if name in simple:
            return {"type": simple[name]}
        if found := re.fullmatch(r"list\[(.+)\]", name):
            return {"type": "array", "items": self._type(found[1])}
        if found := re.fullmatch(r"dict\(str, (.+)\)", name):
            return {"type": "object", "additionalProperties": self._type(found[1])}
        if name.lower() in self._models:
            return self.object(name)
        return {"$ref": f"#/$defs/{self._kubernetes_name(name)}"}

    def _kubernetes_name(self, name: str) -> str:
        """The full name of the type of Kubernetes that the client calls V1Container, for example."""
        short = name.removeprefix("K8sIoApi").removeprefix("AppsV1").removeprefix("V1")
        for group in ("api.core.v1", "api.apps.v1", "apimachinery.pkg.apis.meta.v1"):
            if f"io.k8s.{group}.{short}" in self._definitions:
                return f"io.k8s.{group}.{short}"
        return "io.k8s.apimachinery.pkg.api.resource.Quantity"
