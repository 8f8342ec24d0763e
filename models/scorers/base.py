"""The interface of scorers: their inputs and outputs, and the life cycle of a loaded model.

Each scorer is a module that serves one modelType (`ScorerModule`)::

    IN_PROCESS: bool
    def load(source: ModelSource) -> Scorer
    def prepare() -> None

`IN_PROCESS` states whether the model scores in the worker's process, so that it can be published by its path or inline,
and has a digest; otherwise it is on a server, and its location is the server's address. `load` raises
`models.errors.ModelLoadError` (or a subclass) when the model cannot be served. An engine is imported at first use, so
that a worker loads only the engines whose models it serves. `prepare` imports the engine and does whatever else makes
its first call slow, before the first record arrives.

`models.scorers.in_process` contains the common parts of the scorers that run in this process, and
`models.scorers.servers.remote` those of the scorers that call servers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from models.artifacts.fetching import Opener
from models.artifacts.pickles import NO_PICKLES, AllowedPickles
from models.model_topic.descriptor import ModelDescriptor
from models.tensors import Array, Signature


@dataclass(frozen=True)
class ModelSource:
    """Everything that a scorer may use to load a model.

    Attributes:
      descriptor: the published descriptor; its `model_bytes` is None here.
      content: the bytes of an inline model; None when the model has a location.
      opener: reads the location.
      warm_up: whether to run the warm-up requests that the model contains before it is returned.
      pickles: the pickles that may be loaded, although loading them runs code.
    """

    descriptor: ModelDescriptor
    content: bytes | None
    opener: Opener
    warm_up: bool = True
    pickles: AllowedPickles = NO_PICKLES


@dataclass(frozen=True)
class Scores:
    """The answer to one call.

    Attributes:
      outputs: arrays by output name; the first dimension of each is the number of input rows.
      model_version: the version that the server's answer names; None if it names none, and for a model in this
        process, whose version is that of the descriptor.
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
        """The inputs and outputs of the entry point that `score` calls.

        Anything that the engine does not know is left open: a shape may be None, and there may be no outputs.
        """

    @property
    def digest(self) -> str | None:
        """SHA-256 of the loaded model as 64 hexadecimal digits; None for a model in another process."""

    @property
    def address(self) -> str:
        """The location of the model or of its server."""

    @property
    def batch_deadline(self) -> float | None:
        """The limit in seconds for all calls of one batch together; None for no limit."""

    def score(self, inputs: Mapping[str, Array]) -> Scores:
        """Scores rows. The first dimension of each array is the number of rows; its dtype is that of the signature.

        Raises:
          ScoringError: the call fails; the message has the text of the engine or of the server.
        """

    def close(self) -> None:
        """Releases the resources of the model: memory, files, channels."""


class ScorerModule(Protocol):
    """The contents of the module of a scorer; see the top of this module."""

    @property
    def IN_PROCESS(self) -> bool:  # noqa: N802  # a constant of a module
        """Whether the model scores in the worker's process."""

    def load(self, source: ModelSource) -> Scorer:
        """Loads a model; raises ModelLoadError when it cannot be served."""

    def prepare(self) -> None:
        """Imports the engine; raises ModelLoadError or ImportError when that is impossible."""
