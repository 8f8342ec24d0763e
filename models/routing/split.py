"""The split: selects the arm that answers a record by a stable hash of its key or of its fields.

It is weighted rendezvous hashing (Thaler and Ravishankar 1998; with weights as in Schindelhauer and Schomaker 2005), in
a form that any language can compute:

1. `k`, an unsigned integer of 64 bits, is the XXH64 hash with seed 0 of the record's key in bytes, or of its fields as
      text in UTF-8 (`field_keys`).
2. `a` is the XXH64 hash with seed 0 of the salt of the route, a zero byte and the name of the arm, in UTF-8.
3. `h` is the finalizer of SplitMix64 (Steele, Lea and Flood 2014) of `k XOR a`; `u` is its upper 53 bits plus one half,
   divided by 2^53: a number between 0 and 1.
4. The arm with the lowest `-ln(u) / weight` answers; the first one if several are equal.

A key keeps its arm as long as the weights do not change. If they change, a key moves only if the share of its old arm
decreased or that of its new arm increased, which is the minimum. The order of the arms does not matter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from models.errors import ConditionError

Hashes = npt.NDArray[np.uint64]

_SEPARATOR = b"\x1f"
_NULL = b"\x00"


def hashes_of(keys: Sequence[bytes]) -> Hashes:
    """XXH64 of each key: uint64 [keys].

    >>> hashes_of([b"", b"a"]).tolist()
    [17241709254077376921, 15154266338359012955]
    """
    digest: Callable[[bytes], int] = xxhash.xxh64_intdigest
    return np.fromiter(map(digest, keys), np.uint64, len(keys))


def record_keys(keys: pa.BinaryArray, coordinates: Callable[[int], bytes]) -> list[bytes]:
    """The bytes to hash for records that are split by their keys.

    Records without a key are split by their coordinates, `TOPIC-PARTITION-OFFSET`; otherwise they would all get the
    same arm.

    Args:
      keys: binary [records], null for a record without a key.
      coordinates: returns the coordinates of the record at an index.
    """
    return [coordinates(index) if key is None else key for index, key in enumerate(keys.to_pylist())]


def field_keys(columns: pa.RecordBatch, names: Sequence[str]) -> list[bytes]:
    """The bytes to hash for records that are split by fields.

    Text is encoded in UTF-8, bytes are unchanged, integers are written in decimal digits, booleans as `true` and
    `false`, and a missing value as a zero byte. Several fields are joined by the byte 1F.

    Raises:
      ConditionError: a field does not exist or has another type, such as a float, whose text differs between
        languages.
    """
    parts = [_texts(columns, name) for name in names]
    return parts[0] if len(parts) == 1 else list(map(_SEPARATOR.join, zip(*parts, strict=True)))


def _texts(columns: pa.RecordBatch, name: str) -> list[bytes]:
    if name not in columns.schema.names:
        raise ConditionError(
            f"the records have no field {name!r} to split by; they have {', '.join(columns.schema.names)}"
        )
    column = columns.column(columns.schema.get_field_index(name))
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if pa.types.is_binary(kind) or pa.types.is_string(kind):
        values = pc.cast(column, pa.binary())
    elif pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        values = pc.cast(pc.cast(column, pa.string()), pa.binary())
    else:
        raise ConditionError(f"field {name!r} is {kind}; records can be split by text, bytes, integers or booleans")
    found: list[bytes] = values.fill_null(_NULL).to_pylist()
    return found


def choose_arms(hashes: Hashes, names: Sequence[str], weights: Sequence[float], salt: str = "") -> npt.NDArray[np.intp]:
    """The index of the arm of each record: int [records].

    Args:
      hashes: the result of `hashes_of`, uint64 [records].
      names: the names of the arms.
      weights: the weights of the arms, at least one of them above 0. An arm with weight 0 gets no records.
      salt: the salt of the route.

    >>> choose_arms(hashes_of([b"a", b"b", b"c", b"d"]), ["one", "two"], [1.0, 1.0]).tolist()
    [0, 0, 0, 1]
    """
    if len(names) == 1:
        return np.zeros(len(hashes), np.intp)
    costs = np.full((len(names), len(hashes)), np.inf)
    for place, (name, weight) in enumerate(zip(names, weights, strict=True)):
        if weight > 0:
            costs[place] = -np.log(uniform_of(hashes, name, salt)) / weight
    chosen: npt.NDArray[np.intp] = np.argmin(costs, axis=0)
    return chosen


def chosen_share(hashes: Hashes, name: str, share: float, salt: str = "") -> npt.NDArray[np.bool_]:
    """Whether each record is in the share of an arm that is independent of others, such as a shadow: bool [records]."""
    if share >= 1:
        return np.ones(len(hashes), np.bool_)
    return uniform_of(hashes, name, salt) < share


def uniform_of(hashes: Hashes, name: str, salt: str) -> npt.NDArray[np.float64]:
    """A number between 0 and 1 for each record; those of different arms are independent."""
    arm = np.uint64(xxhash.xxh64_intdigest(f"{salt}\0{name}".encode()))
    mixed = hashes ^ arm
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    uniform: npt.NDArray[np.float64] = ((mixed >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
    return uniform
