"""The share that is sampled, and that the same records are sampled again."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.observing.sampling import Sampling

TOPICS = st.text("abcXYZ019._-", min_size=1)
SHARES = st.floats(0, 1)
STARTS = st.integers(0, 2**62)
PARTITIONS = st.integers(0, 1000)
COUNT = 20_000


@given(SHARES, TOPICS, PARTITIONS, STARTS, st.integers(1, 3))
def test_the_share_of_a_run_of_offsets_is_the_one_that_was_asked_for(
    share: float, topic: str, partition: int, start: int, step: int
) -> None:
    offsets = np.arange(start, start + step * COUNT, step)
    chosen = Sampling(share).chosen(topic, partition, offsets)
    deviation = math.sqrt(COUNT * share * (1 - share))
    # Farther away than six standard deviations is one in five hundred million.
    assert abs(chosen.sum() - COUNT * share) <= 6 * deviation + 1


@given(SHARES, TOPICS, PARTITIONS, st.lists(st.integers(0, 2**63 - 1), min_size=1), st.randoms())
def test_a_record_is_chosen_whatever_batch_it_comes_in(
    share: float, topic: str, partition: int, offsets: list[int], random: object
) -> None:
    sampling = Sampling(share)
    together = sampling.chosen(topic, partition, np.array(offsets))
    alone = [bool(Sampling(share).chosen(topic, partition, np.array([offset]))[0]) for offset in offsets]
    assert together.tolist() == alone


@given(SHARES, SHARES, TOPICS, STARTS)
def test_a_smaller_share_is_a_part_of_a_larger_one(one: float, other: float, topic: str, start: int) -> None:
    offsets = np.arange(start, start + 1000)
    smaller, larger = (Sampling(share).chosen(topic, 0, offsets) for share in sorted((one, other)))
    assert not (smaller & ~larger).any()


def test_none_and_all() -> None:
    offsets = np.arange(100_000)
    assert not Sampling(0).chosen("records", 0, offsets).any()
    assert Sampling(1).chosen("records", 0, offsets).all()
    assert Sampling(1).chosen("records", 0, offsets[:0]).tolist() == []


def test_partitions_and_topics_are_sampled_independently() -> None:
    offsets = np.arange(100_000)
    first = Sampling(0.5).chosen("records", 0, offsets)
    for topic, partition in (("records", 1), ("others", 0)):
        both = (first & Sampling(0.5).chosen(topic, partition, offsets)).mean()
        assert abs(both - 0.25) < 0.01
