"""Records of a made-up stream, as profiles."""

from __future__ import annotations

import numpy as np

from models.observing.drift.profile import FieldKey, Profile

NUMBER = FieldKey("feature", "number")
SKEWED = FieldKey("feature", "skewed")
COLOUR = FieldKey("feature", "colour")
USER = FieldKey("feature", "user")
ANSWER = FieldKey("output", "answer")


class Stream:
    """A stream whose distribution does not change by itself.

    Args:
      seed: of the random numbers.
    """

    def __init__(self, seed: int) -> None:
        self._chance = np.random.default_rng(seed)

    def profile(
        self, records: int, mean: float = 0.0, deviation: float = 1.0, nulls: float = 0.0, new_colour: float = 0.0
    ) -> Profile:
        """The profile of records of which one field may differ from the others of the stream."""
        chance = self._chance
        numbers = chance.normal(mean, deviation, records)
        numbers[chance.random(records) < nulls] = np.nan
        skewed = np.exp(chance.standard_normal(records))
        skewed[chance.random(records) < 0.03] = np.nan
        colours = chance.choice(["red", "green", "blue", "grey", "pink"], records, p=[0.5, 0.3, 0.15, 0.045, 0.005])
        colours = np.where(chance.random(records) < new_colour, "new", colours)
        users = chance.integers(0, 100_000, records)
        profile = Profile()
        profile.add(
            records,
            {
                NUMBER: numbers,
                SKEWED: skewed,
                COLOUR: colours.tolist(),
                USER: [str(one) for one in users.tolist()],
                ANSWER: np.round(chance.beta(2, 5, records), 1),
            },
        )
        return profile
