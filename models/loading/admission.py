"""Admission: the checks that a version must pass before it may serve, once it is fetched, opened, mapped and warmed up.

All workers make the same checks when they load a version, and so does the command that publishes it. These options of
the descriptor work with every scorer:

=====================  =======  ==============================================================================
option                 default  meaning
=====================  =======  ==============================================================================
`max-bytes`            none     the maximum size of the published model in bytes: a zip file as it is, a folder
                                with all its files; does not apply to a model on a server
`max-memory-bytes`     none     the maximum memory of the model in bytes: the growth of the process's resident
                                memory while the model is loaded; no other model is loaded meanwhile
`max-load-seconds`     none     the maximum time for fetching, opening, warming up and checking
`allow-non-finite`     false    `true`: outputs may be NaN or infinite for the warm-up and for golden samples
=====================  =======  ==============================================================================

A load is not interrupted when it exceeds a limit; the model is closed again afterwards.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from models.columns.outputs import RecordOutputs
from models.errors import AdmissionError, DescriptorError, ScorerOptionError, ServingError
from models.model_topic.golden import GoldenSample, GoldenSamples
from models.records.codecs.base import RecordCodec
from models.results.json_values import json_value
from models.tensors import Array
from models.text import error_text, limit_text

BYTES_OPTION = "max-bytes"
MEMORY_OPTION = "max-memory-bytes"
SECONDS_OPTION = "max-load-seconds"
NON_FINITE_OPTION = "allow-non-finite"
ADMISSION_OPTIONS = (BYTES_OPTION, MEMORY_OPTION, SECONDS_OPTION, NON_FINITE_OPTION)

_SHOWN_CHARACTERS = 100

Score = Callable[[RecordCodec, pa.RecordBatch], RecordOutputs]


@dataclass(frozen=True)
class Admission:
    """The limits of one version, from the options of its descriptor; None for no limit."""

    largest_bytes: int | None = None
    largest_memory: int | None = None
    longest_seconds: float | None = None
    non_finite_allowed: bool = False

    @classmethod
    def of(cls, options: Mapping[str, str]) -> Admission:
        """The limits in the options; raises ScorerOptionError if one of them is malformed."""
        return cls(
            _count(options, BYTES_OPTION),
            _count(options, MEMORY_OPTION),
            _seconds(options, SECONDS_OPTION),
            _flag(options, NON_FINITE_OPTION),
        )

    def check_bytes(self, found: int) -> None:
        """Raises AdmissionError if the published model has too many bytes."""
        if self.largest_bytes is not None and found > self.largest_bytes:
            raise AdmissionError(f"the model has {found} bytes; its option {BYTES_OPTION} allows {self.largest_bytes}")

    def check_memory(self, found: int) -> None:
        """Raises AdmissionError if the loaded model takes too much memory, in bytes."""
        if self.largest_memory is not None and found > self.largest_memory:
            raise AdmissionError(
                f"the model takes {found} bytes of memory; its option {MEMORY_OPTION} allows {self.largest_memory}"
            )

    def check_seconds(self, found: float) -> None:
        """Raises AdmissionError if loading took too long."""
        if self.longest_seconds is not None and found > self.longest_seconds:
            raise AdmissionError(
                f"loading the model took {found:.3g} s; its option {SECONDS_OPTION} allows {self.longest_seconds:g}"
            )

    def check_finite(self, outputs: Mapping[str, Array], occasion: str) -> None:
        """Raises AdmissionError if an output contains NaN or infinity and the options do not allow it.

        Args:
          outputs: the outputs by name.
          occasion: what was scored, for the error.
        """
        if self.non_finite_allowed:
            return
        for name, array in outputs.items():
            wrong = non_finite(array)
            if wrong.any():
                raise AdmissionError(
                    f"{occasion}: {np.count_nonzero(wrong)} of {array.size} values of output {name!r} are NaN or "
                    f"infinite (option {NON_FINITE_OPTION}=true allows it)"
                )

    def check_golden(self, golden: GoldenSamples, codecs: Sequence[RecordCodec], score: Score) -> None:
        """Scores golden samples, each in a call of its own, and compares the outputs with the expected ones.

        Args:
          golden: the samples.
          codecs: the codecs of the records that the model can score; a sample is decoded by the first one that it fits.
          score: scores the columns of records of a codec.

        Raises:
          AdmissionError: a sample fits no codec or cannot be scored, or an output differs from the expected one.
        """
        for number, sample in enumerate(golden.samples, start=1):
            occasion = f"golden sample {number}"
            try:
                codec, columns = _decoded(sample, codecs)
                outputs, expected = score(codec, columns).of(0), sample.expected()
            except AdmissionError as error:
                raise AdmissionError(f"{occasion}: {error}") from error
            except ServingError as error:
                raise AdmissionError(f"{occasion} cannot be scored: {error}") from error
            for name, value in expected.items():
                _check_output(occasion, name, value, outputs, golden)
            unnamed = {name: array for name, array in outputs.items() if name not in expected}
            self.check_finite(unnamed, occasion)


def non_finite(array: Array) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Where an output is NaN or infinite: bool of the same shape; only floating-point numbers ever are.

    >>> non_finite(np.array([1.0, np.nan, -np.inf])).tolist(), non_finite(np.array([1, 2])).tolist()
    ([False, True, True], [False, False])
    """
    if array.dtype.kind != "f":
        return np.zeros(array.shape, np.bool_)
    return ~np.isfinite(array)


def difference(expected: Any, actual: Array, absolute: float = 0.0, relative: float = 0.0) -> str | None:
    """Describes how an output differs from the expected JSON value; None if it does not.

    Floating-point numbers may differ by `absolute` plus `relative` times the expected number; null is NaN. Everything
    else must be equal. The shapes must be the same, except that a single value may be nested in any number of lists.

    >>> difference([0.5, 0.25], np.array([0.5, 0.26]), absolute=0.001)
    'it is [0.5, 0.26], but [0.5, 0.25] is expected'
    >>> difference(3, np.array([3]))
    """
    if actual.dtype.kind == "f":
        same = _same_numbers(expected, actual, absolute, relative)
    else:
        same = _same_values(expected, actual)
    if same:
        return None
    return f"it is {_shown(_legible(actual.tolist()))}, but {_shown(expected)} is expected"


def _same_numbers(expected: Any, actual: Array, absolute: float, relative: float) -> bool:
    try:
        wanted = np.asarray(expected, np.float64)
    except (TypeError, ValueError, OverflowError):  # a text, or lists of different lengths
        return False
    if wanted.size == actual.size <= 1:  # a list without items has no further dimensions in JSON
        wanted = wanted.reshape(actual.shape)
    if wanted.shape != actual.shape:
        return False
    numbers = actual.astype(np.float64)
    return bool(np.isclose(numbers, wanted, rtol=relative, atol=absolute, equal_nan=True).all())


def _same_values(expected: Any, actual: Array) -> bool:
    if actual.size == 1:
        while isinstance(expected, list) and len(expected) == 1:
            expected = expected[0]
        return bool(_legible(actual.reshape(()).item()) == expected)
    return bool(_legible(actual.tolist()) == expected)


def _legible(value: Any) -> Any:
    return [_legible(one) for one in value] if isinstance(value, list) else _value(value)


def _value(value: Any) -> Any:
    return value if isinstance(value, float) else json_value(value)


def _shown(value: Any) -> str:
    return limit_text(str(value), _SHOWN_CHARACTERS)


def _check_output(occasion: str, name: str, expected: Any, outputs: Mapping[str, Array], golden: GoldenSamples) -> None:
    if name not in outputs:
        raise AdmissionError(f"{occasion}: there is no output {name!r}; there are {', '.join(sorted(outputs))}")
    found = difference(expected, outputs[name], golden.absolute_tolerance, golden.relative_tolerance)
    if found is not None:
        raise AdmissionError(f"{occasion}: output {name!r}: {found}")


def _decoded(sample: GoldenSample, codecs: Sequence[RecordCodec]) -> tuple[RecordCodec, pa.RecordBatch]:
    """The sample as columns of the first codec whose schema it follows; raises AdmissionError if none fits."""
    try:
        row = _with_bytes(sample.row())
    except DescriptorError as error:
        raise AdmissionError(str(error)) from error
    reasons = []
    for codec in codecs:
        try:
            return codec, codec.columns_of(row)
        except Exception as error:  # fastavro and tfx-bsl raise arbitrary exceptions for some values
            reasons.append(f"it is not a record of {codec.name!r}: {error_text(error)}")
    raise AdmissionError(reasons[0] if reasons else "no records fill the inputs of the model")


def _with_bytes(value: Any) -> Any:
    """The same value with bytes for each {"base64": ...}, because JSON cannot represent bytes directly."""
    if isinstance(value, list):
        return [_with_bytes(one) for one in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"base64"} and isinstance(value["base64"], str):
        try:
            return base64.b64decode(value["base64"], validate=True)
        except binascii.Error as error:
            raise AdmissionError(f"{_shown(value)} is not base64: {error}") from error
    return {name: _with_bytes(one) for name, one in value.items()}


def _count(options: Mapping[str, str], name: str) -> int | None:
    found = options.get(name)
    if found is None:
        return None
    if not (found.isascii() and found.isdigit() and 0 < int(found) < 2**63):
        raise ScorerOptionError(f"option {name}={found!r} is not a number of bytes of at least 1")
    return int(found)


def _seconds(options: Mapping[str, str], name: str) -> float | None:
    found = options.get(name)
    if found is None:
        return None
    try:
        seconds = float(found)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise ScorerOptionError(f"option {name}={found!r} is not a number of seconds above 0")
    return seconds


def _flag(options: Mapping[str, str], name: str) -> bool:
    found = options.get(name, "false")
    if found not in ("true", "false"):
        raise ScorerOptionError(f"option {name}={found!r} is neither true nor false")
    return found == "true"
