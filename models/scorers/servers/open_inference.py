"""The common parts of the scorers of the Open Inference protocol (V2): Seldon's MLServer, KServe, Triton and others.

The protocol has no signatures: each model is called with all its inputs, which the server's metadata describe. If the
metadata are missing or wrong, the inputs are those that the descriptor maps and those of the options `dtype.INPUT`.
Versions on the server are texts. Results have the version that the server's answer names if it is a number, and none
otherwise: a version in the location does not mean that this version answered, because KServe ignores it.

A model is loaded once the server reports that it is ready.

Options of both scorers, in addition to those of `models.scorers.servers.remote_options`:

=================  =======  =================================================================================
option             default  meaning
=================  =======  =================================================================================
`metadata`         use      `ignore`: do not use the server's metadata, which may be missing or wrong
`dtype.INPUT`      float32  type of an input, if the server's metadata are not used or have no inputs: float16,
                            float32, float64, int8 to int64, uint8 to uint64, bool or string
=================  =======  =================================================================================
"""

from __future__ import annotations

import itertools
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from models.errors import ModelLoadError, ScoringError
from models.model_topic.descriptor import ModelDescriptor
from models.scorers.base import Scores
from models.scorers.option_reader import OptionReader
from models.scorers.servers.assumed_signature import Dtypes, assumed_signature, read_dtypes
from models.scorers.servers.open_inference_tensors import DATATYPES, conformed
from models.scorers.servers.remote import RemoteScorer, check_rows, no_rows, row_count, wanted_outputs
from models.scorers.servers.remote_options import RemoteOptions
from models.tensors import Array, Signature, TensorSpec
from models.text import SERVER_TEXT_LIMIT, error_text

SIGNATURE = "infer"

# The texts with which MLServer and Triton reject a call while they load the model; the status is that of wrong calls.
NOT_READY = re.compile(r"^Model .{1,300} is not ready yet|is not at ready state|has no available versions")

_DTYPE_NAMES = tuple("string" if dtype.kind == "O" else dtype.name for dtype in DATATYPES.values())

# KServe fails without an id. Ids are unique, so that a call can be found in the logs of a server.
_ID_PREFIX = uuid.uuid4().hex
_ID_NUMBERS = itertools.count()


@dataclass(frozen=True)
class Inference:
    """The answer to a call.

    Attributes:
      outputs: arrays by name.
      version: the version of the model that answered, as the server names it; empty if the server names none.
    """

    outputs: Mapping[str, Array]
    version: str


@dataclass(frozen=True)
class ModelMetadata:
    """A server's description of a model.

    Attributes:
      inputs: its inputs; empty if the server does not describe them.
      outputs: its outputs; empty if the server does not describe them.
    """

    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]


class OpenInferenceClient(Protocol):
    """Calls one model over gRPC or REST. Thread-safe."""

    def wait_until_ready(self) -> None:
        """Returns when the server reports that the model is ready; raises RemoteCallError at the deadline."""

    def metadata(self) -> ModelMetadata:
        """The server's description; raises ModelLoadError when it cannot be read, RemoteCallError if there is none."""

    def infer(self, inputs: Mapping[str, Array], outputs: tuple[str, ...]) -> Inference:
        """Scores rows.

        Args:
          inputs: arrays by name.
          outputs: the names of the outputs to request; empty for all that the server returns.

        Raises:
          ScoringError: the call fails, or its answer contradicts itself.
        """

    def close(self) -> None:
        """Releases the client's connections."""


@dataclass(frozen=True)
class OpenInferenceOptions:
    """The options of both scorers; the module's docstring explains each."""

    use_metadata: bool
    dtypes: Dtypes

    @classmethod
    def read(cls, reader: OptionReader) -> OpenInferenceOptions:
        """Reads the options; raises ScorerOptionError when a value is invalid."""
        use_metadata = reader.choice("metadata", ("use", "ignore")) == "use"
        return cls(use_metadata, read_dtypes(reader, _DTYPE_NAMES))


class OpenInferenceScorer(RemoteScorer[OpenInferenceClient]):
    """A model on a server of the Open Inference protocol; see `models.scorers.base.Scorer`.

    Output arrays of numbers may be read-only, because they are views of the received message.
    """

    def __init__(
        self,
        address: str,
        client: OpenInferenceClient,
        signature: Signature,
        *,
        outputs: tuple[str, ...],
        batch_deadline: float,
    ) -> None:
        super().__init__(address, client, signature, outputs, batch_deadline)

    def score(self, inputs: Mapping[str, Array]) -> Scores:
        """Scores rows; see `models.scorers.base.Scorer.score`.

        Raises:
          RemoteCallError: the call fails; the message has the address, the status and the server's text.
          ScoringError: an input cannot be sent, or the answer cannot be read or differs from the metadata.
        """
        rows = row_count(inputs)
        if not rows:
            # Servers treat tensors without rows differently.
            known = self._signature.outputs
            return Scores(no_rows({name: known[name] for name in self._outputs or known if name in known}))
        answer = self._client.infer(inputs, self._outputs)
        outputs = {name: self._output(name, answer) for name in self._wanted(answer)}
        check_rows(outputs, rows, self._address)
        return Scores(outputs, version_number(answer.version))

    def _wanted(self, answer: Inference) -> tuple[str, ...]:
        return self._outputs or tuple(self._signature.outputs) or tuple(answer.outputs)

    def _output(self, name: str, answer: Inference) -> Array:
        if name not in answer.outputs:
            existing = ", ".join(sorted(answer.outputs)) or "none"
            raise ScoringError(f"{self._address}: the answer has no output {name!r}; it has: {existing}")
        spec = self._signature.outputs.get(name)
        if spec is None:
            return answer.outputs[name]
        try:
            return conformed(answer.outputs[name], spec)
        except ValueError as error:
            text = error_text(error, SERVER_TEXT_LIMIT)
            raise ScoringError(f"{self._address}: output {name!r} of the answer: {text}") from error


def open_scorer(
    descriptor: ModelDescriptor,
    client: OpenInferenceClient,
    remote: RemoteOptions,
    options: OpenInferenceOptions,
) -> OpenInferenceScorer:
    """The scorer of a model, as soon as the server reports that it is ready.

    Args:
      descriptor: the descriptor of the model.
      client: the client, which the scorer closes; the caller closes it when this function fails.
      remote: the options of every remote scorer.
      options: the options of this protocol.

    Raises:
      ScoringError: a call fails.
      ModelLoadError: the metadata cannot be used, or lack an output that the descriptor selects.
    """
    location = str(descriptor.model_source_location)
    if descriptor.signature not in (None, SIGNATURE):
        raise ModelLoadError(
            f"{location}: the model has no signature {descriptor.signature!r}; in this protocol, the only one is "
            f"{SIGNATURE!r}"
        )
    client.wait_until_ready()
    signature = _signature(descriptor, client.metadata() if options.use_metadata else ModelMetadata({}, {}), options)
    return OpenInferenceScorer(
        location,
        client,
        signature,
        outputs=wanted_outputs(descriptor, signature.outputs, location),
        batch_deadline=remote.batch_deadline,
    )


def _signature(descriptor: ModelDescriptor, metadata: ModelMetadata, options: OpenInferenceOptions) -> Signature:
    if metadata.inputs:
        return Signature(SIGNATURE, metadata.inputs, metadata.outputs)
    why = "the server's metadata name no inputs" if options.use_metadata else "its metadata are not used"
    assumed = assumed_signature(descriptor, options.dtypes, SIGNATURE, why)
    return Signature(SIGNATURE, assumed.inputs, metadata.outputs)


def version_number(version: str) -> int | None:
    """The number in a server's text for a version; None if it is not a number.

    >>> version_number("3"), version_number("v3"), version_number("")
    (3, None, None)
    """
    if not (version.isascii() and version.isdigit()) or len(version) > 18:
        return None
    return int(version)


def next_id() -> str:
    """The id of a call, different from that of any other call of any worker."""
    return f"{_ID_PREFIX}-{next(_ID_NUMBERS)}"
