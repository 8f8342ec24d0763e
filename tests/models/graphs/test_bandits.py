from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import FeedbackError
from models.graphs.bandits import Choice, Rewards, Tally, choose, quantiles
from models.guarding.feedback import parse_feedback
from models.model_topic.model_use import ModelUse
from models.model_topic.steps import BanditMethod, BanditStep
from models.routing.split import Hashes, hashes_of
from tests.models.serving.graphs.graph_serving import Function, GraphServing, record, steps, values

CHOICES = [Choice("g", "s", name, 1) for name in ("a", "b", "c")]


def bandit(how: BanditMethod, epsilon: float = 0.1) -> BanditStep:
    return BanditStep("s", how, tuple(ModelUse(one.model, 1) for one in CHOICES), epsilon)


def hashes(count: int, start: int = 0) -> Hashes:
    return hashes_of([f"records-0-{start + number}".encode() for number in range(count)])


# --- Rewards.


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(CHOICES), st.floats(0, 1)), max_size=30))
def test_the_last_reward_of_a_record_counts(given_rewards: list[tuple[int, Choice, float]]) -> None:
    rewards, last = Rewards(), dict[int, tuple[Choice, float]]()
    for number, choice, reward in given_rewards:
        rewards.add(f"t-0-{number}".encode(), choice, reward)
        last[number] = choice, reward
    for choice in CHOICES:
        mine = [reward for chosen, reward in last.values() if chosen == choice]
        assert rewards.of(choice).count == len(mine)
        assert rewards.of(choice).total == pytest.approx(sum(mine))


def test_rewards_of_records_long_ago_stay_but_are_not_replaced() -> None:
    rewards = Rewards(remembered=2)
    for number in (1, 2, 3, 1):
        rewards.add(f"t-0-{number}".encode(), CHOICES[0], 1.0)
    assert rewards.of(CHOICES[0]) == Tally(4, 4.0)


# --- Choosing.


def test_a_record_gets_the_same_model_again_while_the_rewards_are_the_same() -> None:
    for how in ("thompson", "epsilon-greedy"):
        tallies = [Tally(10, 5), Tally(10, 6), Tally(10, 4)]
        together = choose(bandit(how), CHOICES, tallies, hashes(100))
        alone = [int(choose(bandit(how), CHOICES, tallies, hashes(1, start))[0]) for start in range(100)]
        assert together.tolist() == alone


def test_epsilon_greedy_explores_its_share_alike_and_takes_the_best_otherwise() -> None:
    chosen = Counter(
        choose(bandit("epsilon-greedy", 0.3), CHOICES, [Tally(9, 1), Tally(), Tally(3, 2)], hashes(30_000))
    )
    shares = [chosen[place] / 30_000 for place in range(3)]
    assert shares == pytest.approx([0.1, 0.1, 0.8], abs=0.012)  # five standard deviations


def test_thompson_takes_each_model_as_often_as_it_is_likely_the_best() -> None:
    tallies = [Tally(20, 8), Tally(20, 12), Tally()]
    chosen = Counter(choose(bandit("thompson"), CHOICES, tallies, hashes(30_000)))
    generator = np.random.default_rng(5)
    drawn = [generator.beta(one.total + 1, one.count - one.total + 1, 300_000) for one in tallies]
    likely = Counter(np.argmax(np.stack(drawn), axis=0).tolist())
    for place in range(3):
        assert chosen[place] / 30_000 == pytest.approx(likely[place] / 300_000, abs=0.016)


@pytest.mark.parametrize(
    "tally", [Tally(), Tally(1, 1), Tally(1, 0), Tally(7, 2.5), Tally(1000, 999), Tally(10**7, 10**6)]
)
def test_quantiles_are_those_of_the_beta_distribution(tally: Tally) -> None:
    shares = np.array([0.01, 0.25, 0.5, 0.75, 0.99])
    samples = np.random.default_rng(1).beta(tally.total + 1, tally.count - tally.total + 1, 400_000)
    deviation = float(samples.std())
    np.testing.assert_allclose(quantiles(tally, shares), np.quantile(samples, shares), atol=0.03 * deviation)


# --- In a graph.

GRAPH = """
steps:
  - {name: s, bandit: thompson, choices: [{model: a, version: 1}, {model: b}]}
output: s
"""


def test_a_bandit_learns_which_model_is_rewarded() -> None:
    functions: dict[str, Function] = {"a": lambda x: {"out": 0 * x}, "b": lambda x: {"out": 0 * x + 1}}
    serving = GraphServing(GRAPH.replace("{model: b}", "{model: b, version: 1}"), **functions)
    before = Counter(values(one, "out")[0] for one in serving.score([record(1)] * 400))
    assert min(before.values()) > 120
    chance = random.Random(3)
    for number in range(400):
        name = "ab"[number % 2]
        reward = float(chance.random() < {"a": 0.7, "b": 0.3}[name])
        serving.registry.rewards.add(f"records-3-{number}".encode(), Choice("loan", "s", name, 1), reward)
    results = serving.score([record(1)] * 400)
    assert sum(values(one, "out") == [0.0] for one in results) > 390
    assert {steps(one)[0][:3] for one in results if values(one, "out") == [0.0]} == {("s", "a", 1)}


# --- The messages.


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        (None, b"{}", "the coordinates of a record as its key"),
        (b"t-0-1", None, "and a value"),
        (b"t-0-1", b"{", "not JSON"),
        (b"t-0-1", b"[]", "not a JSON object"),
        (b"t-0-1", b'{"graph": "g", "step": "s", "reward": 1}', "name `graph`, `step` and `model`"),
        (b"t-0-1", b'{"graph": "g", "step": "s", "model": "m", "version": "1", "reward": 1}', "`version` is"),
        (b"t-0-1", b'{"graph": "g", "step": "s", "model": "m", "reward": 1.5}', "a number from 0 to 1, not 1.5"),
        (b"t-0-1", b'{"graph": "g", "step": "s", "model": "m", "reward": true}', "a number from 0 to 1, not True"),
        (b"t-0-1", b'{"graph": "g", "step": "s", "model": "m"}', "a number from 0 to 1, not None"),
        (b"t-0-1", b'{"label": null}', "`label` is a number, a boolean or a text, not None"),
        (b"t-0-1", b'{"label": 1, "output": 2}', "`output` is the name of an output, not 2"),
        (b"t-0-1", b'{"label": 1, "reward": 1}', "may also contain `output`, but not 'reward'"),
    ],
)
def test_malformed_feedback_is_refused_with_the_reason(key: bytes | None, value: bytes | None, text: str) -> None:
    with pytest.raises(FeedbackError, match=text):
        parse_feedback(key, value)
