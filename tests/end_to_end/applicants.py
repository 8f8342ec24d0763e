"""Records of applicants: three numbers and a data type."""

from __future__ import annotations

import json
from pathlib import Path

FIELDS = ("income", "debt", "age")


def schema_file(folder: Path) -> str:
    """Writes their schema; returns the path, a value for --record-schema."""
    fields = [{"name": name, "type": "double"} for name in FIELDS] + [{"name": "dataType", "type": "string"}]
    path = folder / "applicant.avsc"
    path.write_text(json.dumps({"type": "record", "name": "applicant", "fields": fields}), encoding="utf-8")
    return str(path)
