"""Locations of models in the registry of an MLflow tracking server, read over its REST API without MLflow.

=====================================  =============================================================================
`mlflow:models:/NAME@ALIAS`            the version that the alias points to when the model is published
`mlflow:models:/NAME/VERSION`          one version; `models:/NAME/VERSION` is the same
`mlflow+https://HOST/models:/...`      the same in the registry of that server; descriptors have this form, with a
                                       version
=====================================  =============================================================================

The variable MLFLOW_TRACKING_URI names the server of the first two forms. The variables MLFLOW_TRACKING_TOKEN, or
MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, are sent only to that server, so a descriptor that names another
one cannot collect them. Set them wherever workers run. Each value may be a reference to a secret.

If a server keeps its files in a store that Beam reads, such as s3, the descriptor contains the location in that store,
and workers need none of these variables.
"""

from __future__ import annotations

import os
import re
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from models.artifacts.archive import ENTRY_LIMIT, relative_name
from models.artifacts.local_opener import scheme_of
from models.errors import ModelLoadError
from models.locations.environment import from_environment
from models.locations.http_files import check_url, get_json, save_file

SERVER_VARIABLE = "MLFLOW_TRACKING_URI"
PROXIED = "mlflow-artifacts:/"
_MODEL = re.compile(r"models:/(?P<name>[^/@:]+)(?:@(?P<alias>[^/@:]+)|/(?P<version>[1-9][0-9]{0,9}))")
_DEEPEST = 32


@dataclass(frozen=True)
class RegisteredModel:
    """A model that a location names.

    Attributes:
      server: the URL of the tracking server, without "/" at its end.
      name: the name of the registered model.
      alias: the alias; None if there is a version.
      version: the version; None if there is an alias.
    """

    server: str
    name: str
    alias: str | None
    version: str | None

    def __str__(self) -> str:
        """The location in its form with a server."""
        which = f"@{quote(self.alias, safe='')}" if self.alias else f"/{self.version}"
        return f"mlflow+{self.server}/models:/{quote(self.name, safe='')}{which}"


def resolve(location: str) -> str:
    """The location of one version, on its server or in the store that has its files.

    Raises:
      ModelLoadError: when the location is malformed, the server is not named or cannot be reached, or the version does
        not exist or is not ready.
    """
    model = parse_location(location)
    described = _version(model)
    version = RegisteredModel(model.server, model.name, None, str(described["version"]))
    if described.get("status", "READY") != "READY":
        raise ModelLoadError(f"{version} is not ready: {described['status']}; publish it when it is")
    store = _store(version)
    return str(version) if store.startswith(PROXIED) else store


def download(location: str, folder: Path) -> Path:
    """Copies the files of a version into a folder `model`.

    Raises:
      ModelLoadError: when the server cannot be reached, or returns unexpected responses.
    """
    model = parse_location(location)
    if model.version is None:
        raise ModelLoadError(f"{model} follows an alias, which may change; publish the model again")
    store = _store(model)
    if not store.startswith(PROXIED):
        raise ModelLoadError(f"{model} is now in {store}; publish the model again")
    root = store.removeprefix(PROXIED).strip("/")
    files = list(_files(model.server, root, "", 0))
    if not files:
        raise ModelLoadError(f"{model} has no files")
    for name in files:
        save_file(
            f"{_artifacts(model.server)}/{quote(f'{root}/{name}')}", folder / "model" / name, _headers(model.server)
        )
    return folder / "model"


def parse_location(location: str) -> RegisteredModel:
    """Parses a location.

    Raises:
      ModelLoadError: when it is malformed, or neither it nor the variable names a server.

    >>> str(parse_location("mlflow+https://host:5000/mlflow/models:/red%20wine/3"))
    'mlflow+https://host:5000/mlflow/models:/red%20wine/3'
    """
    encoded = location.startswith("mlflow+")
    server, slash, model = location.removeprefix("mlflow+").rpartition("/models:/") if encoded else ("", "", "")
    text = f"models:/{model}" if slash else location.removeprefix("mlflow:")
    found = _MODEL.fullmatch(text)
    if found is None or (encoded and not slash):
        raise ModelLoadError(f"{location!r} is not mlflow:models:/NAME@ALIAS or mlflow:models:/NAME/VERSION")
    if not encoded:
        server = os.environ.get(SERVER_VARIABLE, "")
        if not server:
            raise ModelLoadError(f"{location!r} names no server; set {SERVER_VARIABLE} to the URL of MLflow's")
    check_url(server)
    read = unquote if encoded else str
    parts = {name: None if part is None else read(part) for name, part in found.groupdict().items()}
    return RegisteredModel(server.rstrip("/"), str(parts["name"]), parts["alias"], parts["version"])


def _version(model: RegisteredModel) -> dict[str, Any]:
    if model.alias is not None:
        answer = _call(model, "registered-models/alias", alias=model.alias)
    else:
        answer = _call(model, "model-versions/get", version=str(model.version))
    found = answer.get("model_version")
    if not isinstance(found, dict) or not re.fullmatch(r"[1-9][0-9]{0,9}", str(found.get("version"))):
        raise ModelLoadError(f"{model}: the server named no version; is it MLflow's?")
    return found


def _store(model: RegisteredModel) -> str:
    """The location of the files of a version."""
    store = _call(model, "model-versions/get-download-uri", version=str(model.version)).get("artifact_uri")
    if not isinstance(store, str):
        raise ModelLoadError(f"{model}: the server does not say where its files are; is it MLflow's?")
    if store.startswith(PROXIED):
        store = PROXIED + (store.removeprefix(PROXIED).lstrip("/"))
        relative_name(store.removeprefix(PROXIED))
    elif scheme_of(store) in (None, "file"):
        raise ModelLoadError(
            f"{model} is in {store}, a folder of the server's machine; start the server with --artifacts-destination, "
            "or log the model to a store that workers can read"
        )
    return store


def _files(server: str, root: str, below: str, depth: int) -> list[str]:
    """The names of all files, relative to the model's folder."""
    if depth > _DEEPEST:
        raise ModelLoadError(f"{server}: the folders of {root!r} are nested too deeply")
    answer = get_json(_artifacts(server), {"path": f"{root}/{below}".rstrip("/")}, _headers(server))
    listed = answer.get("files", []) if isinstance(answer, dict) else []
    names: list[str] = []
    for one in listed:
        if not isinstance(one, dict) or not isinstance(one.get("path"), str):
            raise ModelLoadError(f"{server}: the list of the files of {root!r} cannot be read")
        name = str(relative_name(f"{below}/{relative_name(one['path'])}".lstrip("/")))
        names += _files(server, root, name, depth + 1) if one.get("is_dir") else [name]
        if len(names) > ENTRY_LIMIT:
            raise ModelLoadError(f"{server}: {root!r} has more than {ENTRY_LIMIT} files")
    return names


def _call(model: RegisteredModel, method: str, **parameters: str) -> dict[str, Any]:
    url = f"{model.server}/api/2.0/mlflow/{method}"
    answer = get_json(url, {"name": model.name, **parameters}, _headers(model.server))
    if not isinstance(answer, dict):
        raise ModelLoadError(f"{url} did not return an object; is the server MLflow's?")
    return answer


def _artifacts(server: str) -> str:
    return f"{server}/api/2.0/mlflow-artifacts/artifacts"


def _headers(server: str) -> dict[str, str]:
    """The headers that authenticate requests; empty for any server other than the one that the environment names.

    Raises:
      SecretUnavailableError: when a variable refers to a secret that cannot be read.
    """
    if os.environ.get(SERVER_VARIABLE, "").rstrip("/") != server:
        return {}
    if token := from_environment("MLFLOW_TRACKING_TOKEN"):
        return {"Authorization": f"Bearer {token}"}
    if user := from_environment("MLFLOW_TRACKING_USERNAME"):
        password = from_environment("MLFLOW_TRACKING_PASSWORD") or ""
        # In UTF-8, as MLflow's client writes it; urllib3 would write Latin-1.
        return {"Authorization": f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"}
    return {}
