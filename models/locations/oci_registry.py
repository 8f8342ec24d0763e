"""Reads manifests and blobs of one repository of an OCI registry over its HTTP API.

Credentials come from the variable DOCKER_AUTH_CONFIG, which contains the JSON of Docker's configuration, or refers to a
secret that contains it::

    {"auths": {"registry.example.com": {"auth": "BASE64 OF USER:PASSWORD"}}}

They are sent only to the registry that they name, or to the token server that this registry names, and only over TLS or
on this machine.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from models.artifacts.digest import digest_of_path
from models.errors import HttpStatusError, ModelLoadError
from models.locations.environment import from_environment
from models.locations.http_files import check_url, get_bytes, get_json, read_json, save_file

CREDENTIALS_VARIABLE = "DOCKER_AUTH_CONFIG"
MANIFEST_TYPES = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
INDEX_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
_LARGEST_MANIFEST = 4 * 1024 * 1024  # what registries must accept at least
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_PARAMETER = re.compile(r'(\w+)="([^"]*)"')
_THIS_MACHINE = ("localhost", "127.0.0.1", "::1")
# Docker Hub's name differs from the host of its API, and its credentials have a third name.
_API_OF = {"docker.io": "registry-1.docker.io"}
_CREDENTIALS_OF = {"docker.io": "https://index.docker.io/v1/"}

Read = TypeVar("Read")


class OciRepository:
    """A repository of a registry. Not thread-safe: it remembers the token that it has received.

    Args:
      registry: the host, with the port unless that is the default one.
      name: the name of the repository.
      scheme: "https" or "http".
    """

    def __init__(self, registry: str, name: str, scheme: str) -> None:
        self._registry = registry
        self._name = name
        self._url = f"{scheme}://{_API_OF.get(registry, registry)}"
        check_url(self._url)
        self._headers: dict[str, str] = {}

    def manifest(self, reference: str) -> tuple[str, Mapping[str, Any]]:
        """The digest and the content of a manifest or an index.

        Args:
          reference: a tag, or a digest, which the content must have.

        Raises:
          ModelLoadError: when the registry cannot be reached or refuses, or does not return a manifest.
        """
        url = f"{self._url}/v2/{self._name}/manifests/{reference}"
        accept = {"Accept": ", ".join((*MANIFEST_TYPES, *INDEX_TYPES))}
        content = self._allowed(lambda: get_bytes(url, {**self._headers, **accept}, _LARGEST_MANIFEST))
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        if reference.startswith("sha256:") and digest != reference:
            raise ModelLoadError(f"{url} returned a manifest with the digest {digest}")
        manifest = read_json(content, url)
        if not isinstance(manifest, dict):
            raise ModelLoadError(f"{url} returned no manifest; is the server an OCI registry?")
        return digest, manifest

    def save_blob(self, digest: str, size: int, target: Path) -> None:
        """Writes a blob to a new file.

        Raises:
          ModelLoadError: when the registry cannot be reached or refuses, or the blob has another size or digest.
        """
        url = f"{self._url}/v2/{self._name}/blobs/{check_digest(digest)}"
        self._allowed(lambda: save_file(url, target, self._headers, size))
        found = f"sha256:{digest_of_path(target)}"
        if found != digest:
            raise ModelLoadError(f"{url} returned a blob with the digest {found}")

    def _allowed(self, read: Callable[[], Read]) -> Read:
        """Reads; if the registry requests authentication, reads once more with it."""
        try:
            return read()
        except HttpStatusError as error:
            if error.status != 401 or not error.challenge:
                raise ModelLoadError(f"{error}{self._remedy(error.status)}") from error
            self._headers = self._proof(error.challenge)
        try:
            return read()
        except HttpStatusError as error:
            raise ModelLoadError(f"{error}{self._remedy(error.status)}") from error

    def _proof(self, challenge: str) -> dict[str, str]:
        """The header that answers a challenge; see https://distribution.github.io/distribution/spec/auth/token/."""
        kind = challenge.partition(" ")[0].lower()
        if kind == "basic":
            return self._credentials(self._url)
        parameters = dict(_PARAMETER.findall(challenge))
        realm = parameters.pop("realm", "")
        if kind != "bearer" or not realm:
            raise ModelLoadError(f"{self._url} asks for {challenge!r}, which is not supported")
        check_url(realm)
        if self._url.startswith("https:") and not realm.lower().startswith("https:"):
            raise ModelLoadError(f"{self._url} gives tokens at {realm}, which is not encrypted")
        asked = {"scope": f"repository:{self._name}:pull"}
        asked.update((name, parameters[name]) for name in ("service", "scope") if name in parameters)
        try:
            answer = get_json(realm, asked, self._credentials(realm))
        except HttpStatusError as error:
            raise ModelLoadError(f"{error}{self._remedy(error.status)}") from error
        token = (answer.get("token") or answer.get("access_token")) if isinstance(answer, dict) else None
        if not isinstance(token, str):
            raise ModelLoadError(f"{realm} returned no token")
        return {"Authorization": f"Bearer {token}"}

    def _credentials(self, url: str) -> dict[str, str]:
        """The credentials of this registry as a header for a URL; empty if there are none."""
        pair = registry_credentials(self._registry)
        parts = urlsplit(url)
        if pair is None:
            return {}
        if parts.scheme.lower() != "https" and parts.hostname not in _THIS_MACHINE:
            raise ModelLoadError(f"{self._url} requires credentials, which are only sent over https; use oci://")
        return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}

    def _remedy(self, status: int) -> str:
        if status not in (401, 403):
            return ""
        return (
            f"; check the name, and that {CREDENTIALS_VARIABLE} has credentials of {self._registry} that may read it, "
            "here and wherever workers run"
        )


def check_digest(digest: str) -> str:
    """The digest; raises ModelLoadError unless it is a SHA-256, the only kind that every registry must support."""
    if not _DIGEST.fullmatch(digest):
        raise ModelLoadError(f"{digest!r} is not a digest such as sha256:64 HEXADECIMAL DIGITS")
    return digest


def registry_credentials(registry: str) -> str | None:
    """USER:PASSWORD for a registry, from the environment; None if there is none.

    Raises:
      ModelLoadError: when the variable cannot be read.
      SecretUnavailableError: when it refers to a secret that cannot be read.
    """
    text = from_environment(CREDENTIALS_VARIABLE)
    if text is None:
        return None
    try:
        entry = json.loads(text)["auths"].get(_CREDENTIALS_OF.get(registry, registry))
        if entry is None:
            return None
        if "auth" in entry:
            return base64.b64decode(entry["auth"], validate=True).decode()
        return f"{entry['username']}:{entry['password']}"
    # The cause is not chained, because its text may quote the credentials.
    except (ValueError, LookupError, TypeError, AttributeError, binascii.Error):
        raise ModelLoadError(
            f'the variable {CREDENTIALS_VARIABLE} is not JSON such as {{"auths": {{"{registry}": {{"auth": "..."}}}}}}'
        ) from None
