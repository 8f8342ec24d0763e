"""Files of golden samples, for `beam-serving models publish --golden`: one JSON object per line.

{"record": {"user": 5, "products": [1, 2]}, "outputs": {"predictions": [[0.5], [0.25]]}}
"""

from __future__ import annotations

import json

from beam_pipeline.publishing.json_lines import read_json_lines
from models.errors import DescriptorError, OptionsError
from models.model_topic.golden import GoldenSample, GoldenSamples

DEFAULT_TOLERANCE = 0.0001
"""How far an output may be from the expected one, absolutely and relative to it."""

_KEYS = {"record", "outputs"}


def read_golden(path: str, tolerance: float) -> GoldenSamples:
    """The golden samples in a file; empty lines are skipped.

    Args:
      path: the path of the file.
      tolerance: the absolute and the relative tolerance.

    Raises:
      OptionsError: the file cannot be read or is malformed; the message names the line.
    """
    samples = tuple(_sample(where, value) for where, value in read_json_lines("--golden", path))
    try:
        return GoldenSamples(samples, tolerance, tolerance)
    except DescriptorError as error:
        raise OptionsError(f"--golden {path}: {error}") from error


def _sample(where: str, value: object) -> GoldenSample:
    if not isinstance(value, dict) or value.keys() != _KEYS or not all(isinstance(one, dict) for one in value.values()):
        raise OptionsError(f'{where}: not {{"record": {{...}}, "outputs": {{...}}}}')
    return GoldenSample(_compact(value["record"]), _compact(value["outputs"]))


def _compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
