"""The base class of scorers for models on servers, and their checks of inputs and outputs.

`models.scorers.servers.remote_options` describes the options that all of them have.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Generic, Protocol, TypeVar

import numpy as np

from models.errors import ModelLoadError, ScoringError
from models.model_topic.descriptor import ModelDescriptor
from models.tensors import Array, Signature, TensorSpec

Client = TypeVar("Client", bound="Closable")

_LOGGER = logging.getLogger(__name__)


def wanted_outputs(descriptor: ModelDescriptor, known: Collection[str], address: str) -> tuple[str, ...]:
    """The model outputs that the descriptor selects, sorted by name; empty means all.

    Raises:
      ModelLoadError: the signature has outputs, but lacks one of these.
    """
    wanted = sorted(set(descriptor.outputs.values()))
    missing = [name for name in wanted if name not in known] if known else []
    if missing:
        raise ModelLoadError(f"{address}: there is no output {', '.join(missing)}; outputs: {', '.join(sorted(known))}")
    return tuple(wanted)


def row_count(inputs: Mapping[str, Array]) -> int:
    """The number of rows, which is the first dimension of every input.

    >>> row_count({"user": np.zeros(3), "products": np.zeros((3, 10))})
    3
    """
    return next((array.shape[0] for array in inputs.values() if array.ndim), 0)


def check_rows(outputs: Mapping[str, Array], rows: int, address: str) -> None:
    """Raises ScoringError unless every output has one row for each input row."""
    for name, array in outputs.items():
        if array.ndim == 0 or array.shape[0] != rows:
            raise ScoringError(f"{address}: output {name!r} has shape {array.shape}, but the input has {rows} rows")


def no_rows(specs: Mapping[str, TensorSpec]) -> dict[str, Array]:
    """Outputs without rows, for a call without rows that cannot be sent; unknown sizes are 0.

    >>> no_rows({"y": TensorSpec("y", np.dtype(np.float32), (None, 3))})
    {'y': array([], shape=(0, 3), dtype=float32)}
    """
    return {
        name: np.empty((0, *(size or 0 for size in (spec.shape or ())[1:])), spec.dtype) for name, spec in specs.items()
    }


class Closable(Protocol):
    """A client that must be closed."""

    def close(self) -> None:
        """Releases the client's connections."""


@contextmanager
def closed_on_failure(client: Closable) -> Iterator[None]:
    """Closes the client if the body of the with block fails; a failed call becomes a ModelLoadError.

    An error of `close` is only logged, so that it does not hide the original error.

    Raises:
      ModelLoadError: for a ScoringError, with its text.
    """
    try:
        yield
    except BaseException as error:
        try:
            client.close()
        except Exception:
            _LOGGER.exception("a client that failed could not be closed either")
        if isinstance(error, ScoringError):
            raise ModelLoadError(str(error)) from error
        raise


class RemoteScorer(Generic[Client]):
    """The base class of scorers for models on servers; see `models.scorers.base.Scorer`.

    Args:
      address: the location in the descriptor.
      client: the client, which the scorer closes.
      signature: the signature to call.
      outputs: the outputs that the descriptor selects; empty means all.
      batch_deadline: the limit in seconds for all calls of one batch.
    """

    digest = None

    def __init__(
        self, address: str, client: Client, signature: Signature, outputs: tuple[str, ...], batch_deadline: float
    ) -> None:
        self._batch_deadline = batch_deadline
        self._address = address
        self._client = client
        self._signature = signature
        self._outputs = outputs

    @property
    def signature(self) -> Signature:
        """The signature in the server's metadata, or one built from the descriptor if the server has no metadata."""
        return self._signature

    @property
    def address(self) -> str:
        """The location in the descriptor."""
        return self._address

    @property
    def batch_deadline(self) -> float:
        """The option `batch.deadline`."""
        return self._batch_deadline

    def close(self) -> None:
        """Releases the client's connections; connections that other scorers use stay open."""
        self._client.close()
