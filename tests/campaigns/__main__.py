"""`python -m tests.campaigns --changes 1000 --kills 20`: route changes at fences under load, on Prism, with kills."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from models.kafka.client import KafkaSettings
from models.records.record_type import RecordType
from runners.local.kafka_broker import BrokerSettings, LocalBroker
from runners.local.prism import locate_prism
from tests.campaigns.fenced_switches import Campaign, run
from tests.end_to_end.deployment import Deployment
from tests.saved_models import save_version_model


def main() -> int:
    """Runs the campaign; 1 when a result is on the wrong side of a fence, or a record has no answer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--changes", type=int, default=1_000)
    parser.add_argument("--kills", type=int, default=20, help="the pipeline is killed and started again this often")
    parser.add_argument("--models", type=int, default=4)
    parser.add_argument("--arms", type=int, default=3, help="how many arms a route has at most")
    parser.add_argument("--partitions", type=int, default=2)
    parser.add_argument("--rate", type=int, default=200, help="records a second and partition")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="campaign-") as name:
        folder = Path(name)
        models = [save_version_model(folder / str(number), number) for number in range(1, given.models + 1)]
        with LocalBroker(BrokerSettings(work_folder=folder / "broker")) as broker:
            deployment = Deployment(
                KafkaSettings(broker.bootstrap_servers),
                RecordType.named("recommender"),
                {"runner-options": [f"--prism_location={locate_prism()}"]},
                folder / "deployment",
                partitions=given.partitions,
            )

            def kill_and_start(number: int) -> None:
                assert deployment.process is not None
                if number < given.kills:
                    deployment.process.kill()
                    deployment.start()
                    print(f"{number + 1} of {given.kills} kills", flush=True)

            campaign = Campaign(given.changes, given.kills + 1, given.arms, a_second=given.rate, seed=given.seed)
            try:
                outcome = run(deployment, models, campaign, deployment.start, kill_and_start)
            finally:
                deployment.close()
    print(outcome)
    return 1 if outcome.wrong or outcome.unanswered else 0


if __name__ == "__main__":
    sys.exit(main())
