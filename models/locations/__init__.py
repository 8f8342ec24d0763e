"""The table of openers by scheme, for locations that Beam's file systems do not read.

An opener is a module (`LocationOpener`). Publishing resolves a location to one that always names the same model, and
records the digest of that model, so that every worker loads the same bytes or none. Other packages add openers by entry
points of the group `beam_serving.locations`; the name of an entry point is the scheme, and its value is the module::

    [project.entry-points."beam_serving.locations"]
    acme = "acme.serving.store"
"""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from models.entry_points import installed, load_entry_point
from models.errors import EntryPointError
from models.extras import extras_named

ENTRY_POINT_GROUP = "beam_serving.locations"

LOCATION_MODULES = {
    "git+file": "models.locations.git_repositories",
    "git+http": "models.locations.git_repositories",
    "git+https": "models.locations.git_repositories",
    "git+ssh": "models.locations.git_repositories",
    "hf": "models.locations.hugging_face_hub",
    "http": "models.locations.web",
    "https": "models.locations.web",
    "mlflow": "models.locations.mlflow_registry",
    "mlflow+http": "models.locations.mlflow_registry",
    "mlflow+https": "models.locations.mlflow_registry",
    "models": "models.locations.mlflow_registry",
    "oci": "models.locations.oci_artifacts",
    "oci+http": "models.locations.oci_artifacts",
}

_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*):")


class LocationOpener(Protocol):
    """The contents of the module of an opener."""

    def resolve(self, location: str) -> str:
        """Returns the location for the descriptor. It is called once, when a model is published.

        The returned location must always lead to the same model, and must not contain a secret. It may be one that
        Beam's file systems read.

        Raises:
          ModelLoadError: when the location is malformed, or there is nothing at it.
        """

    def download(self, location: str, folder: Path) -> Path:
        """Copies a resolved location into `folder`; see `models.artifacts.fetching.Opener`."""


def opener_of(location: str) -> LocationOpener | None:
    """The opener of a location's scheme; None if Beam's file systems read it.

    Raises:
      EntryPointError: when another package has the scheme, and its entry point is broken or not an opener.
      MissingExtraError: when a package of the opener is missing.

    >>> opener_of("gs://bucket/wine") is None, opener_of("/models/a:b") is None
    (True, True)
    """
    match = _SCHEME.match(location)
    scheme = match.group(1).lower() if match else ""
    if scheme in LOCATION_MODULES:
        with extras_named():
            return cast("LocationOpener", import_module(LOCATION_MODULES[scheme]))
    if scheme not in installed(ENTRY_POINT_GROUP):
        return None
    module = load_entry_point(ENTRY_POINT_GROUP, scheme, "location scheme")
    missing = [name for name in ("resolve", "download") if not callable(getattr(module, name, None))]
    if missing:
        raise EntryPointError(f"location scheme {scheme!r}: its entry point lacks {', '.join(missing)}")
    return cast("LocationOpener", module)


def resolve_location(location: str) -> str:
    """The location for the descriptor, unchanged if Beam's file systems read it; raises as `opener_of` does."""
    opener = opener_of(location)
    return location if opener is None else opener.resolve(location)
