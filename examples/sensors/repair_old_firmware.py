"""Repairs a reading from old firmware by adding the missing vibration as 0.

Use it with `beam-serving dead-letters replay --repair 'python examples/sensors/repair_old_firmware.py'`, which runs it
for each dead letter: it reads the value from standard input and writes the repaired one to standard output. If it exits
with a status other than 0, the dead letter is left unchanged.
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
    """The reading in the current schema; raises ValueError unless the value is exactly one in the old schema."""
    source = io.BytesIO(value)
    try:
        reading = fastavro.schemaless_reader(source, OLD_SCHEMA, None)
    except (EOFError, UnicodeDecodeError, IndexError) as error:
        raise ValueError(f"not a reading from old firmware: {error}") from error
    if source.read():
        raise ValueError("more bytes than a reading from old firmware has")
    target = io.BytesIO()
    fastavro.schemaless_writer(target, SCHEMA, {**reading, "vibration": 0.0})
    return target.getvalue()


def main() -> None:
    """Repairs one value from standard input, and writes it to standard output."""
    try:
        value = repaired(sys.stdin.buffer.read())
    except ValueError as error:
        raise SystemExit(str(error)) from error
    sys.stdout.buffer.write(value)


if __name__ == "__main__":
    main()
