"""Route changes at fences, under load, with workers killed on the way: which results are on the wrong side?

The oracle knows the fences that the publisher announced, Kafka's timestamp of each record, and the specification of the
split in plain Python. The correct arm of a record is the one that the split selects in the last announced route whose
fence is not after the record.
"""

from __future__ import annotations

import math
import random
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from models.errors import FenceLateError
from models.model_topic.route import Arm, Generation, Segment
from models.model_topic.route_publisher import RoutePublisher
from tests.end_to_end.deployment import Deployment, Result, describe
from tests.end_to_end.kafka_tail import KafkaTail
from tests.models.routing.test_split import choose

NAME = "switched"
ROW = {"user": 1, "products": [], "dataType": NAME}


@dataclass(frozen=True)
class Campaign:
    """The parameters of a campaign.

    Attributes:
      changes: the number of route changes.
      rounds: the number of rounds into which they are divided; the deployment is disturbed after each.
      most_arms: the maximum number of arms of a route.
      lead: seconds from a publication to its fence.
      pause: seconds between two publications.
      a_second: records per second and partition.
      seed: the seed of the random routes.
    """

    changes: int
    rounds: int = 1
    most_arms: int = 1
    lead: float = 1.5
    pause: float = 0.2
    a_second: int = 200
    seed: int = 1


@dataclass
class Announced:
    """The published routes: their fences in milliseconds since 1970-01-01 UTC, their arms, and the late ones."""

    fences: list[int] = field(default_factory=list)
    late: list[tuple[int, int]] = field(default_factory=list)
    arms: list[tuple[Arm, ...]] = field(default_factory=list)

    def place(self, timestamp: int) -> int:
        """The index of the route that applies to a record with this timestamp."""
        return bisect_right(self.fences, timestamp) - 1

    def is_in_doubt(self, timestamp: int) -> bool:
        """Whether the publisher has warned that the previous route may have answered a record with this timestamp."""
        return any(first <= timestamp <= last for first, last in self.late)

    def rightful(self, result: Result, timestamp: int) -> Arm:
        """The arm that must have answered. The records have no keys, so their coordinates are hashed."""
        arms = self.arms[self.place(timestamp)]
        coordinates = "{topic}-{partition}-{offset}".format(**result.metadata).encode()
        name = choose(coordinates, {arm.name: arm.weight for arm in arms}) if len(arms) > 1 else arms[0].name
        return next(arm for arm in arms if arm.name == name)


@dataclass(frozen=True)
class Outcome:
    """The findings of a campaign.

    Attributes:
      changes: the number of route changes.
      results: the number of results that were checked, duplicates included.
      records: the number of records that they answer.
      wrong: results from another arm than the correct one.
      unanswered: results without an answer.
      in_doubt: the number of results for records of which the publisher reported that its route came too late.
      worst_share: the largest deviation of an arm's share from its weight, in standard deviations.
      latencies: seconds from a record's timestamp to the start of its scoring: median, 99th percentile, largest.
    """

    changes: int
    results: int
    records: int
    wrong: tuple[Result, ...]
    unanswered: tuple[Result, ...]
    in_doubt: int
    worst_share: float
    latencies: tuple[float, float, float]

    def __str__(self) -> str:
        median, late, last = self.latencies
        return (
            f"{self.results} results of {self.records} records at {self.changes} route changes: {len(self.wrong)} on "
            f"the wrong side, {self.in_doubt} in doubt, {len(self.unanswered)} without an answer; shares off by "
            f"{self.worst_share:.1f} standard deviations at most; scored after {median:.3f} s (median), "
            f"{late:.3f} s (p99), {last:.1f} s at most{self._reasons()}"
        )

    def _reasons(self) -> str:
        """The most frequent reasons for missing answers, one on each line."""
        reasons = Counter(str(one.error)[:160] for one in self.unanswered)
        return "".join(f"\n  {count} times: {reason}" for reason, count in reasons.most_common(5))


def publish_versions(deployment: Deployment, models: Sequence[Path]) -> None:
    """Publishes one version of the model for each folder; only the first becomes the live one."""
    for number, model in enumerate(models):
        deployment.models.publish(describe(NAME, model, {"x": ("user",)}), live=number == 0)


def change_routes(
    deployment: Deployment, announced: Announced, campaign: Campaign, count: int, versions: int, seed: int
) -> None:
    """Publishes random routes with fences, one after the other."""
    chance = random.Random(seed)
    publisher = RoutePublisher(deployment.kafka, deployment.topic("models"))
    for _ in range(count):
        chosen = chance.sample(range(1, versions + 1), chance.randint(1, min(campaign.most_arms, versions)))
        arms = tuple(Arm(f"arm-{number}", NAME, number, chance.choice([0.5, 1.0, 3.0])) for number in chosen)

        def change(_: Generation | None, arms: tuple[Arm, ...] = arms) -> Generation:
            return Generation((Segment(arms),))

        try:
            newest = publisher.change(NAME, change, campaign.lead).newest.fence
            assert newest is not None
            assert newest.timestamp is not None
            fence = newest.timestamp
        except FenceLateError as late:
            fence = late.fence
            announced.late.append((late.fence, late.until))
        announced.fences.append(fence)
        announced.arms.append(arms)
        time.sleep(campaign.pause)


def timestamps(deployment: Deployment) -> dict[tuple[int, int], int]:
    """Kafka's timestamp of each record, by partition and offset."""
    tail = KafkaTail(deployment.kafka, deployment.topic("records"))
    try:
        tail.to_the_end()
        return {(one.partition() or 0, one.offset() or 0): one.timestamp()[1] for one in tail.messages}
    finally:
        tail.close()


def check(deployment: Deployment, announced: Announced, sent: list[list[int]]) -> Outcome:
    """Waits for the results of all records, and checks each result that is in the topic."""
    answered = deployment.results_of_all(sent, seconds=180.0)
    moments = timestamps(deployment)
    results = [one for one in deployment.results_to_the_end() if one.record["dataType"] == NAME]
    wrong, unanswered, latencies = [], [], []
    shares: dict[int, Counter[str]] = {}
    seen = set()
    in_doubt = 0
    for one in results:
        moment = moments[one.where]
        arm = announced.rightful(one, moment)
        if one.error is not None:
            unanswered.append(one)
        elif announced.is_in_doubt(moment):
            in_doubt += 1
        elif (one.version, one.values("version")) != (arm.version, [arm.version]) or one.metadata["arm"] != arm.name:
            wrong.append(one)
        latencies.append(one.metadata["startTime"] / 1e6 - moment / 1e3)
        if one.where not in seen:
            seen.add(one.where)
            shares.setdefault(announced.place(moment), Counter())[str(one.metadata["arm"])] += 1
    return Outcome(
        len(announced.fences) - 1,
        len(results),
        len(answered),
        tuple(wrong),
        tuple(unanswered),
        in_doubt,
        _worst_share(announced, shares),
        (float(np.median(latencies)), float(np.percentile(latencies, 99)), max(latencies)),
    )


def _worst_share(announced: Announced, shares: dict[int, Counter[str]]) -> float:
    worst = 0.0
    for place, counts in shares.items():
        total = counts.total()
        weights = {arm.name: arm.weight for arm in announced.arms[place]}
        for name, weight in weights.items():
            share = weight / sum(weights.values())
            if share < 1:
                worst = max(worst, abs(counts[name] - total * share) / math.sqrt(total * share * (1 - share)))
    return worst


def run(
    deployment: Deployment,
    models: Sequence[Path],
    campaign: Campaign,
    start: Callable[[], object],
    disturb: Callable[[int], None] = lambda _: None,
) -> Outcome:
    """Runs a campaign on a deployment that has not been started.

    Args:
      deployment: the deployment.
      models: folders of models whose answer is their version, the first one for version 1, and so on.
      campaign: the parameters.
      start: starts the deployment.
      disturb: called after each round with its number; it kills, restarts or rescales the deployment.
    """
    publish_versions(deployment, models)
    first = (Arm("live", NAME, 1),)
    RoutePublisher(deployment.kafka, deployment.topic("models")).change(NAME, lambda _: Generation((Segment(first),)))
    announced = Announced([0], arms=[first])
    start()
    deployment.score(ROW)
    with deployment.records_coming(ROW, campaign.a_second) as sent:
        for number in range(campaign.rounds):
            count, seed = campaign.changes // campaign.rounds, campaign.seed * 1_000 + number
            change_routes(deployment, announced, campaign, count, len(models), seed)
            disturb(number)
        time.sleep(campaign.lead + 1.0)
    return check(deployment, announced, sent)
