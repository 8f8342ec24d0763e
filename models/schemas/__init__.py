"""The Avro schemas that are part of the application: those of its own messages and of the bundled record types."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

BUNDLED_RECORDS = ("recommender", "transaction", "wine")

ADDED_FIELDS: Mapping[str, tuple[str, ...]] = {
    "model_descriptor": ("golden", "baseline"),
    "result_metadata": ("outlierScore", "outlier"),
}
"""The fields that schemas have gained since their first release, in that order; all may be null, which is the default.

A message in which they are null is written with the earlier schema, so that workers of that release can read it. The
results of a deployment have the fields of outliers only if it looks for them (`models.results.schema`).
"""

EARLIER_SCHEMAS: Mapping[str, tuple[str, ...]] = {"model_route": ("earlier/model_route_1",)}
"""Earlier schemas of messages that changed in other ways. They are still read, by Avro's rules of schema resolution."""


@cache
def bundled_schema(name: str) -> dict[str, Any]:
    """The schema `models/schemas/NAME.avsc`, parsed as JSON.

    Raises:
      FileNotFoundError: when no schema of that name is bundled.
    """
    text = files("models.schemas").joinpath(f"{name}.avsc").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def bundled_names() -> list[str]:
    """The names of the bundled schemas, sorted."""
    folder = files("models.schemas")
    return sorted(entry.name[: -len(".avsc")] for entry in folder.iterdir() if entry.name.endswith(".avsc"))
