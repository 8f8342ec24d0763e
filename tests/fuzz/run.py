"""Random records through decoding, scoring and assembling: each must result in one message, whatever its bytes are."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from models.columns.field_values import is_text
from models.errors import ScoringError
from models.observing.instruments import ERRORS
from models.observing.observation import Observation
from models.observing.totals import Totals
from models.records.batch import VALUE_SCHEMA_HEADER, Headers, OffsetSpan, RecordBatch
from models.records.codecs.base import RecordCodec
from models.records.record_type import RecordType
from models.routing.plan import implicit_plan
from models.scorers.base import Scores
from models.serving.assembly import ScoringSettings, score_batch
from models.serving.registry import ModelRegistry
from models.tensors import Array, Signature, TensorSpec
from tests.fuzz.streams import STREAMS, Stream
from tests.models.fakes import FakeScorer, fake_model, published

DTYPES = ("float32", "float64", "int32", "int64", "uint8", "bool", "object")
SHAPES: tuple[tuple[int | None, ...] | None, ...] = (None, (None,), (None, 1), (None, None), (None, 2))
TOPIC = "t"
POOL = 60


class EchoScorer(FakeScorer):
    """Returns its inputs; one call in fifty fails."""

    def __init__(self, signature: Signature, chance: random.Random) -> None:
        super().__init__(1)
        self.signature = signature
        self._chance = chance

    def score(self, inputs: Mapping[str, Array]) -> Scores:
        if self._chance.random() < 0.02:
            raise ScoringError("the engine stumbled")
        return Scores({f"out-{name}": array for name, array in inputs.items()})


@dataclass
class Tally:
    """The outcomes of the records so far: results, those of them that have an error, and dead letters."""

    records: int = 0
    results: int = 0
    errors: int = 0
    dead_letters: int = 0
    seconds: float = 0.0


def fuzz(
    records: int,
    seed: int,
    registry: str,
    formats: Sequence[str] = tuple(STREAMS),
    seconds: Callable[[], float] = time.process_time,
) -> Tally:
    """Sends random records through the product.

    Args:
      records: the number of records.
      seed: the seed, with which a run can be repeated.
      registry: the address of a schema registry.
      formats: the record formats, which are used in turn.
      seconds: a clock, which runs while the product works and not while records are made.

    Raises:
      FuzzError: when one round fails; the message has the seed that repeats the round.
    """
    tally = Tally()
    rounds = 0
    while tally.records < records:
        one = f"{seed}-{rounds}"
        try:
            chance = random.Random(one)
            stream = STREAMS[formats[rounds % len(formats)]](chance, registry)
            fuzz_round(chance, stream, records - tally.records, tally, seconds)
        except Exception as error:
            raise FuzzError(f"round {one} of {formats[rounds % len(formats)]} failed: {error!r}") from error
        rounds += 1
    return tally


class FuzzError(Exception):
    """A record led to an exception, or to anything but one message."""


def fuzz_round(chance: random.Random, stream: Stream, most: int, tally: Tally, seconds: Callable[[], float]) -> None:
    """Fuzzes one schema and one model with some batches."""
    kind, make = stream
    registry = _registry(chance, kind)
    results = f"results-{uuid.uuid4().hex}"  # the schema of results is registered under the topic's name
    settings = ScoringSettings({TOPIC: kind}, results, "dead-letters", chance.choice(("record", "coordinates")))
    pool = [make() for _ in range(POOL)]
    totals = Totals()
    observer = Observation(totals)
    for _ in range(6):
        size = min(most, chance.choice((1, 2, 16, 500, 2_000)))
        most -= size
        batch = _batch(chance, pool, size)
        began = seconds()
        outgoing = score_batch(batch, registry, settings, observer=observer).outgoing
        tally.seconds += seconds() - began
        offsets = sorted(message.offset or 0 for message in outgoing)
        if offsets != batch.offsets.tolist():
            raise FuzzError(f"{size} records gave {len(offsets)} messages")
        tally.records += size
        tally.results += sum(message.topic == results for message in outgoing)
        tally.dead_letters += sum(message.topic == "dead-letters" for message in outgoing)
    tally.errors += int(sum(value for (one, _), value in totals.snapshot().numbers.items() if one is ERRORS))
    registry.close()


def _batch(chance: random.Random, pool: Sequence[bytes], size: int) -> RecordBatch:
    values: list[bytes | None] = [chance.choice(pool) for _ in range(size)]
    spoilt = chance.choice((0, 0, 1, size // 20, size // 2))
    for place in (chance.randrange(size) for _ in range(spoilt if size else 0)):
        values[place] = _spoil(chance, values[place] or b"")
    keys = [chance.choice((None, b"", b"key", b"\xff")) for _ in range(size)]
    offsets = range(100, 100 + size)
    headers = [_headers(chance) if chance.random() < 0.1 else () for _ in range(size)]
    return RecordBatch.of(OffsetSpan(TOPIC, "", 0, 0, 100, 100 + size), offsets, offsets, keys, values, headers)


def _headers(chance: random.Random) -> Headers:
    """Some headers; one in four names a schema, which may not exist."""
    schema = chance.choice((None, b"", b"\0\0\0\0\x01", b"\x01" * 17, chance.randbytes(5)))
    return (("h", b"1"), ("h", None)) if chance.random() < 0.75 else ((VALUE_SCHEMA_HEADER, schema),)


def _spoil(chance: random.Random, value: bytes) -> bytes | None:
    place = chance.randrange(len(value) + 1)
    return chance.choice(
        (
            None,
            b"",
            value[:place],
            value + chance.randbytes(chance.randrange(1, 9)),
            value[:place] + chance.randbytes(1) + value[place + 1 :],
            value[:place] + chance.choice((b"\x80", b"\xff" * 9, b"\xff" * 9 + b"\x01", b"\x7f")) + value[place:],
            chance.randbytes(chance.randrange(60)),
            b"\x02" * 20_000,
            b"[" * 20_000,
        )
    )


def _registry(chance: random.Random, kind: RecordType) -> ModelRegistry:
    registry = ModelRegistry("fuzz")
    data_types = ["Test", "a", ""][: chance.randrange(4)]
    versions = {
        name: published(place + 1, f"m{place}", data_type=name) for place, name in enumerate(data_types) if name
    }
    registry.update({name: implicit_plan((version,)) for name, version in versions.items()})
    for version in versions.values():
        registry.loaded(version, fake_model(version, EchoScorer(_signature(chance, kind.codec), chance)))
    return registry


def _signature(chance: random.Random, codec: RecordCodec) -> Signature:
    names = codec.fields.names
    chosen = chance.sample(names, min(len(names), chance.choice((1, 1, 2, 3))))
    fits = chance.random() < 0.7
    dtypes = {name: _dtype(codec.fields.field(name).type) if fits else chance.choice(DTYPES) for name in chosen}
    specs = {name: TensorSpec(name, np.dtype(dtypes[name]), chance.choice(SHAPES)) for name in chosen}
    return Signature("serving_default", specs)


def _dtype(kind: pa.DataType) -> str:
    """The dtype that can hold all values of a field."""
    kind = kind.value_type if pa.types.is_list(kind) else kind
    return "object" if is_text(kind) else "float64"
