"""Scorers that call Python code of other packages: functions of columns, and Beam's model handlers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from models.errors import ModelLoadError, ScoringError
from models.scorers.base import ModelSource, Scores
from models.scorers.in_process import (
    InProcessScorer,
    check_inputs,
    check_shapes,
    check_signature_name,
    selected_outputs,
)
from models.tensors import Array, Signature, TensorSpec, sample_inputs


@dataclass(frozen=True)
class Callee:
    """The code to call.

    Attributes:
      call: takes inputs and their number of rows, at least one, and returns the outputs; raises ScoringError.
      signature: its inputs and outputs; there are no outputs if the code does not declare them.
      release: frees its resources.
    """

    call: Callable[[Mapping[str, Array], int], Mapping[str, Array]]
    signature: Signature
    release: Callable[[], None] = field(default=lambda: None)


class CalledScorer(InProcessScorer):
    """A model that is called with columns.

    If `source` asks for a warm-up and the outputs are undeclared, one row of zeros is scored at once to discover them.

    Raises:
      ModelLoadError: the descriptor names another signature or an output that the model lacks, or the row of
        zeros cannot be scored.
    """

    def __init__(self, source: ModelSource, digest: str, callee: Callee) -> None:
        name, inputs = callee.signature.name, callee.signature.inputs
        check_signature_name(source.descriptor, name)
        self._callee: Callee | None = callee
        self._wanted = set(source.descriptor.outputs.values())
        outputs = callee.signature.outputs or (_first_outputs(callee) if source.warm_up else {})
        if outputs:
            outputs = {one: outputs[one] for one in selected_outputs(outputs, source.descriptor)}
        super().__init__(source.descriptor, digest, Signature(name, inputs, outputs))

    def score(self, inputs: Mapping[str, Array]) -> Scores:
        """Scores rows; returns only the outputs that the descriptor selects, or all if it selects none.

        Raises:
          ScoringError: the inputs are not those of the signature, or the call fails; the message is one line.
        """
        callee = self._callee
        if callee is None:
            raise ScoringError("the model is closed")
        rows = check_inputs(inputs, self._signature.inputs)
        check_shapes(inputs, self._signature.inputs, rows)
        if rows == 0:  # most code expects at least one row
            outputs = {name: values[:0] for name, values in callee.call(sample_inputs(self._signature), 1).items()}
        else:
            outputs = dict(callee.call(inputs, rows))
        return Scores({name: values for name, values in outputs.items() if not self._wanted or name in self._wanted})

    def close(self) -> None:
        """Releases the resources of the called code."""
        if self._callee is not None:
            self._callee.release()
        self._callee = None


def _first_outputs(callee: Callee) -> dict[str, TensorSpec]:
    try:
        outputs = callee.call(sample_inputs(callee.signature), 1)
    except ScoringError as error:
        raise ModelLoadError(f"a row of zeros cannot be scored: {error} (option warmup=false skips it)") from error
    return {name: TensorSpec(name, array.dtype, (None, *array.shape[1:])) for name, array in outputs.items()}
