"""Long campaigns, of which the tests run small versions.

`python -m tests.campaigns --changes 1000 --kills 20`: route changes at fences under load, on Prism, with kills; with
`--flink` on a Flink cluster, where every fifth kill is replaced by a change of the parallelism.
`python -m tests.campaigns guard --bad 100 --good 100`: bad and good models against admission and the guard.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from models.kafka.client import KafkaSettings
from models.records.record_type import RecordType
from runners.flink.cluster import FlinkClusterSettings, LocalFlinkCluster
from runners.flink.jars import job_server_jar
from runners.local.kafka_broker import BrokerSettings, LocalBroker
from runners.local.prism import locate_prism
from tests.campaigns import guarded_candidates
from tests.campaigns.fenced_switches import Campaign, Outcome, run
from tests.campaigns.guarded_candidates import Fate, bad_subjects, good_subjects
from tests.campaigns.on_flink import FlinkDisturbances
from tests.end_to_end.deployment import Deployment
from tests.end_to_end.flink.flink_deployment import FlinkDeployment
from tests.saved_models import save_version_model


def main() -> int:
    """Runs a campaign; returns 1 when it finds a violation."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("campaign", nargs="?", choices=["routes", "guard"], default="routes")
    parser.add_argument("--changes", type=int, default=1_000)
    parser.add_argument("--kills", type=int, default=20, help="the pipeline is killed and started again this often")
    parser.add_argument("--flink", action="store_true", help="on a cluster of Flink instead of Prism")
    parser.add_argument("--models", type=int, default=4)
    parser.add_argument("--arms", type=int, default=3, help="how many arms a route has at most")
    parser.add_argument("--partitions", type=int, default=2)
    parser.add_argument("--rate", type=int, default=200, help="records a second and partition")
    parser.add_argument("--bad", type=int, default=100, help="how many bad models are sent against the guard")
    parser.add_argument("--good", type=int, default=100, help="how many good ones")
    parser.add_argument("--unchecked", action="store_true", help="models get to the workers without `models publish`")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    return _guard(given) if given.campaign == "guard" else _routes(given)


def _guard(given: argparse.Namespace) -> int:
    """Returns 1 when a bad model was promoted, or a good one was not."""

    def report(fate: Fate) -> None:
        print(f"{fate.subject.kind} ({fate.subject.detail}): {fate.where}: {fate.reason}", flush=True)

    subjects = bad_subjects(given.bad, given.seed) + good_subjects(given.good, given.seed)
    with tempfile.TemporaryDirectory(prefix="campaign-") as name:
        outcome = guarded_candidates.run(subjects, Path(name), given.seed, unchecked=given.unchecked, report=report)
    print(outcome)
    return 1 if outcome.missed or outcome.false_alarms else 0


def _routes(given: argparse.Namespace) -> int:
    """Returns 1 when a result is on the wrong side of a fence, or a record has no answer."""
    with tempfile.TemporaryDirectory(prefix="campaign-") as name:
        folder = Path(name)
        models = [save_version_model(folder / str(number), number) for number in range(1, given.models + 1)]
        campaign = Campaign(given.changes, given.kills + 1, given.arms, a_second=given.rate, seed=given.seed)
        with LocalBroker(BrokerSettings(work_folder=folder / "broker")) as broker:
            run_on = _run_on_flink if given.flink else _run_on_prism
            outcome = run_on(KafkaSettings(broker.bootstrap_servers), folder, models, campaign, given.partitions)
    print(outcome)
    return 1 if outcome.wrong or outcome.unanswered else 0


def _run_on_prism(
    kafka: KafkaSettings, folder: Path, models: Sequence[Path], campaign: Campaign, partitions: int
) -> Outcome:
    options = {"runner-options": [f"--prism_location={locate_prism()}"]}
    schema = RecordType.named("recommender")
    deployment = Deployment(kafka, schema, options, folder / "deployment", partitions=partitions)

    def kill_and_start(number: int) -> None:
        assert deployment.process is not None
        deployment.process.kill()
        deployment.start()

    disturb = _between_rounds(campaign, kill_and_start)
    try:
        return run(deployment, models, campaign, deployment.start, disturb)
    finally:
        deployment.close()


def _run_on_flink(
    kafka: KafkaSettings, folder: Path, models: Sequence[Path], campaign: Campaign, partitions: int
) -> Outcome:
    schema = RecordType.named("recommender")
    job_server_jar()  # built before anything waits for it
    with LocalFlinkCluster(FlinkClusterSettings(work_folder=folder / "cluster", slots=2)) as cluster:
        deployment = FlinkDeployment(
            kafka, schema, {}, folder / "deployment", partitions=partitions, cluster=cluster, parallelism=1
        )
        disturbances = FlinkDisturbances(cluster, deployment, rescale_every=5)
        try:
            return run(
                deployment, models, campaign, disturbances.start, _between_rounds(campaign, disturbances.disturb)
            )
        finally:
            deployment.close()


def _between_rounds(campaign: Campaign, disturb: Callable[[int], None]) -> Callable[[int], None]:
    """Disturbs the deployment after each round but the last, and reports it."""

    def disturb_and_say(number: int) -> None:
        if number < campaign.rounds - 1:
            disturb(number)
            print(f"disturbed {number + 1} of {campaign.rounds - 1} times", flush=True)

    return disturb_and_say


if __name__ == "__main__":
    sys.exit(main())
