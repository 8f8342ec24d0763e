"""The records of a PyTorch file, which is a zip file, as PyTorch itself reads them."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from models.errors import ModelLoadError
from models.scorers.pytorch.program import one_line


@dataclass(frozen=True)
class ArchiveRecords:
    """The names of the records, read by PyTorch's own reader, so that the checked records are the loaded ones.

    Attributes:
      names: the names, without the folder that contains all of the records.
      reader: a torch._C.PyTorchFileReader.
    """

    names: frozenset[str]
    reader: Any

    @classmethod
    def open(cls, path: Path) -> ArchiveRecords:
        """Reads the names.

        Raises:
          ModelLoadError: PyTorch cannot read the file, a name occurs twice, or Python and PyTorch see different names.
        """
        try:
            reader = torch._C.PyTorchFileReader(str(path))
            names = list(reader.get_all_records())
            with zipfile.ZipFile(path) as archive:
                seen = [entry.filename for entry in archive.infolist()]
        except Exception as error:
            raise ModelLoadError(f"PyTorch cannot read it: {one_line(error)}") from error
        # Two of PyTorch's ways to load a program read it with Python: neither reader may see what the other does not.
        root = seen[0].partition("/")[0] if seen else ""
        if len(set(names)) != len(names) or sorted(f"{root}/{name}" for name in names) != sorted(seen):
            raise ModelLoadError("its records are not all in one folder, or some names occur twice")
        return cls(frozenset(names), reader)

    def read(self, name: str) -> bytes:
        """The bytes of a record.

        Raises:
          ModelLoadError: it is missing or damaged.
        """
        try:
            content: bytes = self.reader.get_record(name)
        except Exception as error:
            raise ModelLoadError(f"record {name!r} cannot be read: {one_line(error)}") from error
        return content

    def holds_only_tensors(self, name: str) -> bool:
        """Whether a record written by torch.save can be loaded without running code."""
        try:
            torch.load(io.BytesIO(self.read(name)), map_location="cpu", weights_only=True)
        except ModelLoadError:
            raise
        except Exception:
            return False
        return True
