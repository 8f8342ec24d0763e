"""Locations `oci://REGISTRY/REPOSITORY:TAG` and `oci://REGISTRY/REPOSITORY@sha256:...`: OCI artifacts and images.

A descriptor names the digest of the manifest, which contains the digests of all blobs, and both are checked.
`oci+http://` is for registries without TLS. The layers are interpreted by the conventions of ORAS and KServe:

===========================================================  =========================================================
a layer with a title (`org.opencontainers.image.title`)      a file of that name
one with the annotation `io.deis.oras.content.unpack`, or    a tar file of a folder
of the type `...tar+gzip` whose title has no such ending
one without a title, in an artifact                          a tar file, perhaps compressed with gzip
one without a title, in a container image (a ModelCar)       a tar file whose folder `models` has the model
===========================================================  =========================================================

The model is the only file or folder that the layers contain; if there are several, it is the folder of them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.artifacts.archive import ENTRY_LIMIT, relative_name
from models.artifacts.tar_archive import extract_tar
from models.errors import ModelLoadError
from models.locations.oci_registry import INDEX_TYPES, OciRepository, check_digest

TITLE = "org.opencontainers.image.title"
UNPACK = "io.deis.oras.content.unpack"
IMAGE_CONFIGS = ("application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json")
IMAGE_FOLDER = "models"
_ATTESTATION = "vnd.docker.reference.type"
_DEFAULT_TAG = "latest"
_TAR_ENDINGS = (".tar", ".tar+gzip", ".tar.gzip")
_LOCATION = re.compile(
    r"oci(?P<plain>\+http)?://(?P<registry>[A-Za-z0-9][A-Za-z0-9.-]*(?::[0-9]{1,5})?)/"
    r"(?P<name>[a-z0-9]+(?:[._-]+[a-z0-9]+)*(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?(?:@(?P<digest>[^/@?#]+))?"
)


@dataclass(frozen=True)
class Artifact:
    """An artifact that a location names.

    Attributes:
      registry: the host, possibly with a port.
      name: the name of the repository.
      tag: the tag of the artifact; the digest takes precedence over it.
      digest: the digest of its manifest; None if only the tag is known.
      scheme: "https" or "http".
    """

    registry: str
    name: str
    tag: str
    digest: str | None
    scheme: str

    def __str__(self) -> str:
        """The location."""
        which = f"@{self.digest}" if self.digest else f":{self.tag}"
        return f"{'oci' if self.scheme == 'https' else 'oci+http'}://{self.registry}/{self.name}{which}"

    @property
    def repository(self) -> OciRepository:
        """A new client of the repository."""
        return OciRepository(self.registry, self.name, self.scheme)

    def at(self, digest: str) -> Artifact:
        """The artifact of that digest, in the same repository."""
        return Artifact(self.registry, self.name, self.tag, digest, self.scheme)


@dataclass(frozen=True)
class Layer:
    """A layer of a manifest.

    Attributes:
      digest: the digest of its blob.
      size: the size of its blob in bytes.
      title: the name of the file or folder; None without one.
      packed: whether the blob is a tar file that has to be unpacked.
    """

    digest: str
    size: int
    title: str | None
    packed: bool


def resolve(location: str) -> str:
    """The location with the digest of the manifest that the tag points to.

    Raises:
      ModelLoadError: when the location is malformed, the registry cannot be reached or refuses, or the location leads
        to several artifacts or none.
    """
    artifact = parse_location(location)
    digest, manifest = artifact.repository.manifest(artifact.digest or artifact.tag)
    if _is_index(manifest):
        digest = _only_manifest(artifact, manifest)
        manifest = artifact.repository.manifest(digest)[1]
    _layers(artifact.at(digest), manifest)
    return str(artifact.at(digest))


def download(location: str, folder: Path) -> Path:
    """Copies the files of an artifact into a folder `model`, and checks the digests of manifest and blobs.

    Raises:
      ModelLoadError: when the registry cannot be reached or refuses, or its response does not have the digest, or
        contains something that a model must not (`models.artifacts.tar_archive.extract_tar`).
    """
    artifact = parse_location(location)
    if artifact.digest is None:
        raise ModelLoadError(f"{artifact} follows a tag, which may change; publish the model again")
    repository = artifact.repository
    manifest = repository.manifest(artifact.digest)[1]
    below = IMAGE_FOLDER if _is_image(manifest) else None
    target, blob = folder / "model", folder / "layer"
    target.mkdir(parents=True)
    for layer in _layers(artifact, manifest):
        repository.save_blob(layer.digest, layer.size, blob)
        try:
            _add_layer(layer, blob, target, None if layer.title else below)
        except (ModelLoadError, OSError) as error:
            raise ModelLoadError(f"{artifact}: layer {layer.title or layer.digest}: {error}") from error
    return _only_entry(artifact, target, below)


def parse_location(location: str) -> Artifact:
    """Parses a location; raises ModelLoadError when it is malformed.

    >>> str(parse_location("oci://registry.example.com/team/wine:v3"))
    'oci://registry.example.com/team/wine:v3'
    """
    found = _LOCATION.fullmatch(location)
    if found is None:
        raise ModelLoadError(
            f"{location!r} is not oci://REGISTRY/REPOSITORY:TAG or oci://REGISTRY/REPOSITORY@sha256:DIGEST"
        )
    digest = found["digest"]
    return Artifact(
        found["registry"].lower(),
        found["name"],
        found["tag"] or _DEFAULT_TAG,
        None if digest is None else check_digest(digest),
        "http" if found["plain"] else "https",
    )


def _is_index(manifest: Mapping[str, Any]) -> bool:
    return manifest.get("mediaType") in INDEX_TYPES or ("manifests" in manifest and "layers" not in manifest)


def _is_image(manifest: Mapping[str, Any]) -> bool:
    config = manifest.get("config")
    return isinstance(config, dict) and config.get("mediaType") in IMAGE_CONFIGS


def _only_manifest(artifact: Artifact, index: Mapping[str, Any]) -> str:
    """The digest of the only artifact of an index; attachments that Docker adds, such as signatures, do not count."""
    listed = _objects(artifact, index, "manifests")
    found = [str(one.get("digest")) for one in listed if _ATTESTATION not in (one.get("annotations") or {})]
    if len(found) != 1:
        names = ", ".join(found[:10]) or "none"
        raise ModelLoadError(f"{artifact} is an index of several artifacts; name the digest of one of them: {names}")
    return check_digest(found[0])


def _layers(artifact: Artifact, manifest: Mapping[str, Any]) -> list[Layer]:
    listed = _objects(artifact, manifest, "layers")
    if not listed:
        raise ModelLoadError(f"{artifact} has no layers; is it an artifact with a model?")
    return [_layer(artifact, one) for one in listed]


def _objects(artifact: Artifact, manifest: Mapping[str, Any], name: str) -> Sequence[Mapping[str, Any]]:
    listed = manifest.get(name)
    if not isinstance(listed, list) or len(listed) > ENTRY_LIMIT or not all(isinstance(one, dict) for one in listed):
        raise ModelLoadError(f"{artifact}: the {name} of its manifest cannot be read; is the server an OCI registry?")
    return listed


def _layer(artifact: Artifact, described: Mapping[str, Any]) -> Layer:
    digest, size, kind = described.get("digest"), described.get("size"), described.get("mediaType")
    annotations = described.get("annotations") or {}
    known = isinstance(size, int) and size >= 0 and isinstance(digest, str) and isinstance(kind, str)
    if not known or not isinstance(annotations, dict):
        raise ModelLoadError(f"{artifact}: a layer of its manifest cannot be read; is the server an OCI registry?")
    title = annotations.get(TITLE)
    if title is not None:
        title = str(relative_name(str(title).rstrip("/")))
        # ORAS labels every file as a tar file by default, so the type alone says nothing.
        packed = annotations.get(UNPACK) == "true" or (
            str(kind).endswith("tar+gzip") and not title.endswith((".tar.gz", ".tgz", ".gz"))
        )
        return Layer(check_digest(str(digest)), int(str(size)), title, packed)
    if not str(kind).endswith(_TAR_ENDINGS):
        raise ModelLoadError(
            f"{artifact}: a layer of the type {kind!r} has no title; push it with the annotation {TITLE}"
        )
    return Layer(check_digest(str(digest)), int(str(size)), None, True)


def _add_layer(layer: Layer, blob: Path, target: Path, below: str | None) -> None:
    if layer.packed:
        extract_tar(blob, target, below)
        blob.unlink()
        return
    file = target / str(layer.title)
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.exists():
        raise ModelLoadError("another layer has the same title")
    blob.rename(file)


def _only_entry(artifact: Artifact, target: Path, below: str | None) -> Path:
    found = list(target.iterdir())
    if not found:
        where = f"no folder {below!r}, which has the model in a ModelCar" if below else "no files"
        raise ModelLoadError(f"{artifact} has {where}")
    return found[0] if len(found) == 1 else target
