"""Switches between versions at fences, under load, with workers killed on the way: which results are on the wrong side?

The oracle knows the fences that the publisher announced and Kafka's timestamp of each record. The rightful version of a
record is that of the last announced switch whose fence is not behind the record.
"""

from __future__ import annotations

import random
import time
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from models.model_topic.route import Generation
from models.model_topic.route_changes import promoted
from models.model_topic.route_publisher import RoutePublisher
from tests.end_to_end.deployment import Deployment, Result, describe
from tests.end_to_end.kafka_tail import KafkaTail

NAME = "switched"


@dataclass
class Switches:
    """The switches so far: the fence of each, in milliseconds since 1970-01-01 UTC, and its version."""

    fences: list[int] = field(default_factory=list)
    versions: list[int] = field(default_factory=list)

    def rightful(self, timestamp: int) -> int:
        """The version that a record with this timestamp must be scored by."""
        return self.versions[bisect_right(self.fences, timestamp) - 1]


@dataclass(frozen=True)
class Outcome:
    """What a campaign found.

    Attributes:
      switches: how many there were.
      results: how many results were checked, duplicates included.
      records: how many records they answer.
      wrong: results on the wrong side of a fence.
      unanswered: results without an answer.
      slowest: the longest time in seconds from a record to its result.
    """

    switches: int
    results: int
    records: int
    wrong: tuple[Result, ...]
    unanswered: tuple[Result, ...]
    slowest: float


def publish_versions(deployment: Deployment, models: list[Path]) -> None:
    """Publishes one version of the model for each folder, without making one after the first live."""
    for number, model in enumerate(models):
        deployment.models.publish(describe(NAME, model, {"x": ("user",)}), live=number == 0)


def switch(deployment: Deployment, switches: Switches, count: int, lead: float, pause: float, seed: int) -> None:
    """Publishes fenced switches to random versions, one after another."""
    random_of = random.Random(seed)
    publisher = RoutePublisher(deployment.kafka, deployment.topic("models"))
    versions = sorted(number for name, number in deployment.models.read().versions if name == NAME)
    if not switches.versions:
        switches.fences.append(0)
        switches.versions.append(versions[0])
    for _ in range(count):
        version = random_of.choice([one for one in versions if one != switches.versions[-1]])

        def change(before: Generation | None, to: int = version) -> Generation:
            return promoted(before, NAME, to)

        fence = publisher.change(NAME, change, lead).newest.fence
        assert fence is not None
        assert fence.timestamp is not None
        switches.fences.append(fence.timestamp)
        switches.versions.append(version)
        time.sleep(pause)


def timestamps(deployment: Deployment) -> dict[tuple[int, int], int]:
    """Kafka's timestamp of each record, by partition and offset."""
    tail = KafkaTail(deployment.kafka, deployment.topic("records"))
    try:
        tail.to_the_end()
        return {(one.partition() or 0, one.offset() or 0): one.timestamp()[1] for one in tail.messages}
    finally:
        tail.close()


def check(deployment: Deployment, switches: Switches, sent: list[list[int]]) -> Outcome:
    """Waits for the results of all records, and checks each result that is in the topic."""
    answered = deployment.results_of_all(sent, seconds=120.0)
    everything = deployment.results_to_the_end()
    moments = timestamps(deployment)
    of_switches = [one for one in everything if one.record["dataType"] == NAME]
    unanswered = tuple(one for one in of_switches if one.error is not None)
    wrong = tuple(
        one
        for one in of_switches
        if one.error is None
        and (one.version != switches.rightful(moments[one.where]) or one.values("version") != [one.version])
    )
    slowest = max(one.metadata["startTime"] / 1e6 - moments[one.where] / 1e3 for one in of_switches)
    return Outcome(len(switches.fences) - 1, len(of_switches), len(answered), wrong, unanswered, slowest)


def run(
    deployment: Deployment,
    models: list[Path],
    count: int,
    disturb: Callable[[int], None],
    rounds: int = 1,
    lead: float = 1.5,
    pause: float = 0.2,
    a_second: int = 200,
    seed: int = 1,
) -> Outcome:
    """Runs a campaign on a deployment that has not been started.

    Args:
      deployment: where.
      models: folders of models that answer their version, the first one for version 1, and so on.
      count: how many switches.
      disturb: called after each round with its number: kills, restarts or rescales the deployment.
      rounds: into how many rounds the switches are divided.
      lead: seconds from a publication to its fence.
      pause: seconds between two publications.
      a_second: records a second and partition.
      seed: of the random versions.
    """
    publish_versions(deployment, models)
    deployment.start()
    row = {"user": 1, "products": [], "dataType": NAME}
    deployment.score(row)
    switches = Switches()
    with deployment.records_coming(row, a_second) as sent:
        for number in range(rounds):
            switch(deployment, switches, count // rounds, lead, pause, seed + number)
            disturb(number)
        time.sleep(lead + 1.0)
    return check(deployment, switches, sent)
