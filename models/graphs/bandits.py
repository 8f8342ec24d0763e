"""Bandits choose the model that answers a record by the rewards that the models' answers have received so far.

The choice is a function of the coordinates of the record and of the rewards that are known when it is scored: if a
record is scored again with the same rewards, it gets the same model. The random numbers come from the hash that splits
records over arms (`models.routing.split`), with the graph, the step and the model as its names.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.model_topic.steps import BanditStep
from models.routing.split import Hashes, uniform_of

REMEMBERED = 1_000_000
"""The number of records whose rewards can still be replaced; the rewards of older ones are only counted."""

_GRID = 513
_DEVIATIONS = 9.0

Uniform = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Choice:
    """A model of a bandit, as results name it."""

    graph: str
    step: str
    model: str
    version: int | None


@dataclass(frozen=True)
class Tally:
    """The number of rewards that a model has received, and their sum."""

    count: int = 0
    total: float = 0.0

    def plus(self, reward: float, times: int = 1) -> Tally:
        """The tally with one more reward, or with one less if `times` is -1."""
        return Tally(self.count + times, self.total + times * reward)


class Rewards:
    """The rewards that the models of bandits have received. Thread-safe.

    Args:
      remembered: the number of records whose rewards can still be replaced.
    """

    def __init__(self, remembered: int = REMEMBERED) -> None:
        self._remembered = remembered
        self._lock = threading.Lock()
        self._tallies: dict[Choice, Tally] = {}
        # By record, graph and step; the oldest first.
        self._known: dict[tuple[bytes, str, str], tuple[Choice, float]] = {}

    def add(self, coordinates: bytes, choice: Choice, reward: float) -> None:
        """Counts the reward of an answer; a later one for the same record and step replaces it.

        Args:
          coordinates: TOPIC-PARTITION-OFFSET of the record.
          choice: the model that answered.
          reward: from 0 to 1.
        """
        key = coordinates, choice.graph, choice.step
        with self._lock:
            before = self._known.pop(key, None)
            if before is not None:
                self._count(before[0], before[1], -1)
            self._count(choice, reward, 1)
            self._known[key] = choice, reward
            if len(self._known) > self._remembered:
                del self._known[next(iter(self._known))]

    def of(self, choice: Choice) -> Tally:
        """The rewards of a model so far."""
        with self._lock:
            return self._tallies.get(choice, Tally())

    def _count(self, choice: Choice, reward: float, times: int) -> None:
        self._tallies[choice] = self._tallies.get(choice, Tally()).plus(reward, times)


def choose(
    step: BanditStep, choices: Sequence[Choice], tallies: Sequence[Tally], hashes: Hashes
) -> npt.NDArray[np.intp]:
    """The index of the model for each record: int [records].

    Args:
      step: the bandit.
      choices: its models.
      tallies: their rewards.
      hashes: the hashes of the records' coordinates, uint64 [records].
    """
    if step.how == "thompson":
        drawn = [quantiles(one, _chance(choice, hashes)) for one, choice in zip(tallies, choices, strict=True)]
        likeliest: npt.NDArray[np.intp] = np.argmax(np.stack(drawn), axis=0)
        return likeliest
    means = [one.total / one.count if one.count else 0.0 for one in tallies]
    best = np.full(len(hashes), int(np.argmax(means)))
    any_of_them = np.argmin(np.stack([_chance(choice, hashes) for choice in choices]), axis=0)
    explores = uniform_of(hashes, "epsilon", f"{choices[0].graph}\0{choices[0].step}") < step.epsilon
    found: npt.NDArray[np.intp] = np.where(explores, any_of_them, best)
    return found


def quantiles(tally: Tally, shares: Uniform) -> Uniform:
    """The quantiles of a model's mean reward: those of the beta distribution, with a uniform prior.

    >>> quantiles(Tally(), np.array([0.25, 0.5])).round(3).tolist()
    [0.25, 0.5]
    >>> quantiles(Tally(10_000, 9_000.0), np.array([0.5])).round(3).tolist()
    [0.9]
    """
    successes, failures = tally.total + 1, tally.count - tally.total + 1
    total = successes + failures
    mean = successes / total
    deviation = np.sqrt(mean * (1 - mean) / (total + 1))
    # A grid around the peak of the density, however narrow; the quantiles are read from its cumulative sum.
    grid = np.linspace(max(0.0, mean - _DEVIATIONS * deviation), min(1.0, mean + _DEVIATIONS * deviation), _GRID)
    middles = (grid[1:] + grid[:-1]) / 2
    logarithm = (successes - 1) * np.log(middles) + (failures - 1) * np.log1p(-middles)
    cumulated = np.concatenate([np.zeros(1), np.cumsum(np.exp(logarithm - logarithm.max()))])
    found: Uniform = np.interp(shares, cumulated / cumulated[-1], grid)
    return found


def _chance(choice: Choice, hashes: Hashes) -> Uniform:
    return uniform_of(hashes, f"{choice.model}\0{choice.version}", f"{choice.graph}\0{choice.step}")
