"""Repairs a reading of old firmware: adds the vibration that is missing, as 0.

For `beam-serving dead-letters replay --repair 'python examples/sensors/repair_old_firmware.py'`, which runs it for each
dead letter: the value comes on standard input, the repaired one goes to standard output. A status other than 0
leaves the dead letter as it is.
"""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import fastavro

SCHEMA = json.loads(Path(__file__).with_name("sensor.avsc").read_text(encoding="utf-8"))
OLD_SCHEMA = {**SCHEMA, "fields": SCHEMA["fields"][:2]}


def repaired(value: bytes) -> bytes:
    """The reading in the present schema; raises ValueError unless it is exactly one of the old schema."""
    source = io.BytesIO(value)
    try:
        reading = fastavro.schemaless_reader(source, OLD_SCHEMA, None)
    except (EOFError, UnicodeDecodeError, IndexError) as error:
        raise ValueError(f"not a reading of old firmware: {error}") from error
    if source.read():
        raise ValueError("more bytes than a reading of old firmware has")
    target = io.BytesIO()
    fastavro.schemaless_writer(target, SCHEMA, {**reading, "vibration": 0.0})
    return target.getvalue()


def main() -> None:
    """One value from standard input to standard output."""
    try:
        value = repaired(sys.stdin.buffer.read())
    except ValueError as error:
        raise SystemExit(str(error)) from error
    sys.stdout.buffer.write(value)


if __name__ == "__main__":
    main()
