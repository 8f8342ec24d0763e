"""What every scorer is: the values that go in and come out, and the life of a loaded model.

A module of this package serves one modelType. It exposes two functions::

    def load(source: ModelSource) -> Scorer
    def prepare() -> None

`load` raises `models.errors.ModelLoadError` (or a subclass of it) when the model cannot be served. The engine is
imported when it is first needed, so that a worker pays only for the engines whose models it serves; `prepare` imports
it and pays for whatever else its first call costs, before the first record comes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from models.model_topic.descriptor import ModelDescriptor
from models.tensors import Array, Signature


class Opener(Protocol):
    """Reads model locations; the caller gives one, so that scorers know no file system."""

    def download(self, location: str, folder: Path) -> Path:
        """Copies `location` (a file, or a folder with all below it) into `folder` and returns the copy's path.

        Raises:
          ModelLoadError: when the location cannot be read; the message names it.
        """


@dataclass(frozen=True)
class ModelSource:
    """All that a scorer may use to load a model.

    Attributes:
      descriptor: what was published; its `model_bytes` is None here.
      content: the bytes that travelled in the stream, or None when the model has a location.
      opener: reads the location.
    """

    descriptor: ModelDescriptor
    content: bytes | None
    opener: Opener


@dataclass(frozen=True)
class Scores:
    """The answer of one call.

    Attributes:
      outputs: arrays by output name; the first dimension of each is the number of rows that went in.
      model_version: the version that the server's answer names; None for a model in this process (there the
        descriptor's version holds) and for a server whose answer names none.
    """

    outputs: Mapping[str, Array]
    model_version: int | None = None


class Scorer(Protocol):
    """A loaded model.

    `score` may be called from several threads at once. `close` is called once, after the last `score` has
    returned; it is not called when the process is killed.
    """

    @property
    def signature(self) -> Signature:
        """The entry point that `score` calls."""

    @property
    def digest(self) -> str | None:
        """SHA-256 of the bytes that score, as 64 hexadecimal digits; None for a model in another process."""

    @property
    def address(self) -> str:
        """Where the model was taken from, or where its server is."""

    @property
    def batch_deadline(self) -> float | None:
        """Seconds that all calls for the records of one batch may take together; None: no limit."""

    def score(self, inputs: Mapping[str, Array]) -> Scores:
        """Scores rows: each array's first dimension is the number of rows, its dtype follows the signature.

        Raises:
          ScoringError: with the text of the engine or of the server.
        """

    def close(self) -> None:
        """Releases what the model holds: memory, files, channels."""
