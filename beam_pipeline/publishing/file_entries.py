"""Entries of the YAML files of `beam-serving models apply`, with errors that name their place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from models.errors import OptionsError


def mapping_of(where: str, entry: object, known: tuple[str, ...] | None) -> dict[Any, Any]:
    """A mapping with some of the known keys, or with any names if `known` is None; raises OptionsError otherwise."""
    if not isinstance(entry, dict):
        raise OptionsError(f"{where}: it must be a mapping with {', '.join(known or ('names',))}")
    if known is None:
        return entry
    unknown = sorted(str(key) for key in entry if key not in known)
    if unknown:
        raise OptionsError(f"{where}: {unknown[0]!r} is unknown; it may contain {', '.join(known)}")
    return entry


def list_of(where: str, entry: Mapping[str, Any], key: str) -> list[Any]:
    """The list under a key of an entry, empty if there is none; raises OptionsError if it is something else."""
    found = entry.get(key, [])
    if not isinstance(found, list):
        raise OptionsError(f"{where}: `{key}` must be a list")
    return found
