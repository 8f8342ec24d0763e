"""Which records are looked at more closely: a share of them, chosen by their coordinates.

A record is chosen or not wherever and however often it is scored, so that a replay samples the same records again. A
smaller share is a part of a larger one: two listeners with the shares 1 % and 10 % have the records of the first in
common.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xxhash

from models.records.batch import Longs

# The generator SplitMix64 (Steele, Lea and Flood, 2014): it mixes a counter, which here is the offset.
_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MIXES = ((np.uint64(30), np.uint64(0xBF58476D1CE4E5B9)), (np.uint64(27), np.uint64(0x94D049BB133111EB)))
_LAST_SHIFT = np.uint64(31)
# As many bits as a float64 has, so that the comparison with a share is exact.
_FLOAT_SHIFT, _FLOAT_BITS = np.uint64(11), 53


@dataclass(frozen=True)
class Sampling:
    """Chooses a share of records.

    Attributes:
      share: from 0, none, to 1, all.
    """

    share: float

    def chosen(self, topic: str, partition: int, offsets: Longs) -> npt.NDArray[np.bool_]:
        """Whether each record of a partition is chosen, given their offsets: bool [records].

        Example:
          >>> Sampling(0.5).chosen("records", 0, np.arange(5)).tolist()
          [False, True, False, False, True]
        """
        if self.share >= 1:
            return np.ones(len(offsets), np.bool_)
        return uniform(topic, partition, offsets) < self.share


def uniform(topic: str, partition: int, offsets: Longs) -> npt.NDArray[np.float64]:
    """A number in [0, 1) for each record of a partition, by its coordinates alone: float64 [records]."""
    seed = xxhash.xxh3_64_intdigest(f"{topic}-{partition}")
    mixed = offsets.astype(np.uint64) * _GAMMA + np.uint64(seed)
    for shift, factor in _MIXES:
        mixed = (mixed ^ (mixed >> shift)) * factor
    mixed ^= mixed >> _LAST_SHIFT
    numbers: npt.NDArray[np.float64] = (mixed >> _FLOAT_SHIFT).astype(np.float64) / (1 << _FLOAT_BITS)
    return numbers


def smallest(numbers: npt.NDArray[np.float64], most: int) -> npt.NDArray[np.int64]:
    """The places of at most `most` records, those with the smallest numbers, ascending: int64 [records].

    Example:
      >>> smallest(np.array([0.7, 0.1, 0.4]), 2).tolist()
      [1, 2]
    """
    if len(numbers) <= most:
        return np.arange(len(numbers))
    return np.sort(np.argpartition(numbers, most)[:most]) if most else np.zeros(0, np.int64)
