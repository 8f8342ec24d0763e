"""Copies the files that a job's parameters name in gs:// to this machine, because options name local files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from apache_beam.io.filesystems import FileSystems

from beam_pipeline.cli.option_values import RECORDS
from models.errors import OptionsError

# A file in a bucket, with the parts of a record schema that may surround it: derived:FILE, FILE#MESSAGE.
_IN_BUCKET = re.compile(r"(?P<before>(?:derived:)?)(?P<file>gs://[^#]+)(?P<after>(?:#.*)?)")
_SCHEMA = "record-schema"


class BucketFiles:
    """Copies of files in buckets, each in a folder of its own below `folder`, under its own name.

    The name matters: the schema of a tf.Example is named after its file.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._copies: dict[str, Path] = {}

    def local(self, value: str) -> str:
        """The value with the path of a copy in place of a file in gs://; other values are unchanged.

        Raises:
          OptionsError: the file cannot be read.
        """
        found = _IN_BUCKET.fullmatch(value)
        if found is None:
            return value
        return f"{found['before']}{self._copy(found['file'])}{found['after']}"

    def local_config(self, value: str) -> str:
        """The path of a copy of a configuration file in gs://, whose record schemas are copied, too.

        Raises:
          OptionsError: the file, or a schema that it names, cannot be read.
        """
        path = self.local(value)
        if path == value:
            return value
        try:
            content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        except (UnicodeDecodeError, yaml.YAMLError):
            return path  # `run` reports the error
        if isinstance(content, dict):
            Path(path).write_text(yaml.safe_dump(self._with_local_schemas(content), sort_keys=False), encoding="utf-8")
        return path

    def _with_local_schemas(self, config: Mapping[str, Any]) -> dict[str, Any]:
        local = dict(config)
        if isinstance(local.get(_SCHEMA), str):
            local[_SCHEMA] = self.local(local[_SCHEMA])
        if isinstance(local.get(RECORDS), list):
            local[RECORDS] = [
                {**entry, "schema": self.local(entry["schema"])}
                if isinstance(entry, dict) and isinstance(entry.get("schema"), str)
                else entry
                for entry in local[RECORDS]
            ]
        return local

    def _copy(self, location: str) -> Path:
        if location not in self._copies:
            copy = self._folder / str(len(self._copies)) / location.rpartition("/")[2]
            copy.parent.mkdir()
            # Beam's file systems pass on any exception of their client libraries.
            try:
                with FileSystems.open(location) as remote:
                    copy.write_bytes(remote.read())
            except Exception as error:
                reason = " ".join(str(error).split())
                raise OptionsError(
                    f"{location} cannot be read: {reason}; check the name, and that the launcher's service account "
                    "may read it"
                ) from error
            self._copies[location] = copy
        return self._copies[location]
