"""Decoding alone: our codec against fastavro and, if it is installed, pyruhvro, for batches of several sizes.

Run it with `python -m benchmarks.in_process.decoding`. It prints ratios, because they depend less on the machine.
"""

from __future__ import annotations

import io
import json
import random
import time
from collections.abc import Callable
from functools import partial
from importlib import import_module
from importlib.util import find_spec

import fastavro
import pyarrow as pa

from models.records.codecs.avro_structs import structs_of
from models.records.codecs.avro_types import record_type
from models.records.record_type import RecordType

BATCHES = (1, 4, 16, 500, 2_000)
ROUNDS = 15


def main() -> None:
    """Prints a line for each batch size."""
    kind = RecordType.named("recommender")
    print(f"{'batch':>6} {'ours, us':>10} {'fastavro, rows':>16} {'fastavro, columns':>18} {'pyruhvro':>10}")
    for size in BATCHES:
        messages = messages_of(kind, size)
        ours = best(partial(decode, kind, messages))
        ratios = [best(other) / ours for other in others(kind, messages)]
        print(f"{size:>6} {ours * 1e6:>10.0f} {''.join(f'{ratio:>15.2f}x' for ratio in ratios)}")


def decode(kind: RecordType, messages: list[bytes]) -> object:
    """Decodes messages into columns."""
    return kind.codec.decode(pa.array(messages, pa.binary()))


def messages_of(kind: RecordType, count: int) -> list[bytes]:
    """Recommender records of ten products."""
    chance = random.Random(1)
    rows = [
        {
            "user": chance.getrandbits(20),
            "products": [chance.getrandbits(16) for _ in range(10)],
            "dataType": "recommender",
        }
        for _ in range(count)
    ]
    return [kind.codec.encode(row) for row in rows]


def others(kind: RecordType, messages: list[bytes]) -> list[Callable[[], object]]:
    """The decoders to compare ours with."""
    parsed = fastavro.parse_schema(kind.declared)
    arrow, _ = record_type(kind.declared)

    def rows() -> list[object]:
        return [fastavro.schemaless_reader(io.BytesIO(message), parsed, None) for message in messages]

    def columns() -> object:
        return structs_of(dict(enumerate(rows())), arrow)  # type: ignore[arg-type]

    found: list[Callable[[], object]] = [rows, columns]
    if find_spec("pyruhvro"):
        pyruhvro = import_module("pyruhvro")
        text = json.dumps(kind.declared)
        found.append(lambda: pyruhvro.deserialize_array(messages, text))
    return found


def best(work: Callable[[], object]) -> float:
    """The duration of the fastest of several rounds, in seconds."""
    seconds = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


if __name__ == "__main__":
    main()
