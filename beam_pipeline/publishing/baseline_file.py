"""Baselines, for `beam-serving models publish --baseline`: what the training data and the answers for it look like.

The file contains records of the training data, one JSON object per line:

{"fixed_acidity": 7.4, "volatile_acidity": 0.7, ...}
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from beam_pipeline.publishing.json_lines import read_json_lines
from models.errors import OptionsError, ServingError
from models.extras import extras_named
from models.loading.loader import LoadedModel
from models.records.codecs.base import DecodedRecords, RecordCodec
from models.records.record_type import Row

MOST_BYTES = 512 * 1024
"""The limit for a baseline: every process that follows the models topic keeps it in memory."""
_BATCH = 1_000


def read_baseline(path: str) -> tuple[Row, ...]:
    """The records in a file; empty lines are skipped.

    Raises:
      OptionsError: the file cannot be read, is malformed or contains no records; the message names the line.
    """
    rows = tuple(_row(where, value) for where, value in read_json_lines("--baseline", path))
    if not rows:
        raise OptionsError(f"--baseline {path}: the file contains no records")
    return rows


def _row(where: str, value: object) -> Row:
    if not isinstance(value, dict):
        raise OptionsError(f"{where}: not a JSON object with the fields of a record")
    return value


def make_baseline(model: LoadedModel, codec: RecordCodec, rows: Sequence[Row]) -> bytes:
    """Scores records, and sketches their features and outputs.

    Args:
      model: the model.
      codec: the codec of the records.
      rows: the records.

    Raises:
      OptionsError: a record does not follow the schema or cannot be scored, or the sketches are too large.
      MissingExtraError: the package for sketches is not installed.
    """
    with extras_named():
        from models.observing.drift.field_values import feature_values, output_values
        from models.observing.drift.profile import Profile
        from models.observing.drift.sampled_answers import mapped_fields

    profile, size = Profile(), min(_BATCH, model.largest_batch or _BATCH)
    for start in range(0, len(rows), size):
        decoded = _decoded(codec, rows[start : start + size], start)
        try:
            outputs, _ = model.score(codec, decoded.columns)
        except ServingError as error:
            raise OptionsError(f"--baseline: records {start + 1} to {start + len(decoded)}: {error}") from error
        features = mapped_fields(model.plan({}, codec))
        profile.add(len(decoded), dict(feature_values(decoded.columns, features)))
        profile.add(0, dict(output_values(outputs)))
    content = profile.to_bytes()
    if len(content) > MOST_BYTES:
        raise OptionsError(
            f"--baseline: the sketches of {len(profile.fields)} fields take {len(content)} bytes, more than "
            f"{MOST_BYTES}; leave it out, and the baseline is taken from the first records that the version answers"
        )
    return content


def _decoded(codec: RecordCodec, rows: Sequence[Row], start: int) -> DecodedRecords:
    values = []
    for place, row in enumerate(rows, start + 1):
        try:
            values.append(codec.encode(row))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise OptionsError(f"--baseline: record {place} does not follow the schema: {error}") from error
    decoded = codec.decode(pa.array(values, pa.binary()))
    for place, reason in decoded.errors.items():
        raise OptionsError(f"--baseline: record {start + place + 1} does not follow the schema: {reason}")
    return decoded
