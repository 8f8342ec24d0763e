"""A deployment whose pipeline is a job of a Flink cluster."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any

from models.errors import FlinkJobError, FlinkUnreachableError
from runners.flink.cluster import LocalFlinkCluster
from runners.flink.rest import FlinkRest
from tests.end_to_end.deployment import Deployment, Result
from tests.end_to_end.serving_process import ServingProcess

CHECKPOINT_MILLISECONDS = 2_000


@dataclass
class FlinkDeployment(Deployment):
    """Like `Deployment`, on `cluster`.

    Attributes:
      parallelism: the parallelism of the job.
    """

    cluster: LocalFlinkCluster = field(kw_only=True)
    parallelism: int = 1

    def start(self, *runner_options: str, **options: Any) -> ServingProcess:
        """Submits the job and returns at once."""
        ours = [
            f"--flink-master={self.cluster.rest_address}",
            f"--environment_config={self.cluster.worker_pool_address}",
            f"--parallelism={self.parallelism}",
            f"--checkpointing_interval={CHECKPOINT_MILLISECONDS}",
            f"--job_name={self.name}",
        ]
        return super().start(**{"runner": "FlinkRunner", "runner_options": [*ours, *runner_options], **options})

    @property
    def rest(self) -> FlinkRest:
        """The cluster's REST API."""
        return FlinkRest(self.cluster.rest_address)

    def job_id(self) -> str:
        """The id of the job that was started last."""
        found = self.rest.job_named(self.name)
        assert found is not None, f"there is no job{self._log_end()}"
        return found

    def checkpoints(self) -> dict[str, int]:
        """The numbers of checkpoints: completed, failed, restored, ..."""
        counts: dict[str, int] = self.rest.ask("GET", f"jobs/{self.job_id()}/checkpoints")["counts"]
        return counts

    def wait_for_checkpoint(self) -> None:
        """Waits until one more checkpoint has completed."""
        before = self.checkpoints()["completed"]
        self.eventually(lambda: self.checkpoints()["completed"] > before, "a checkpoint")

    def wait_for_whole_checkpoint(self) -> None:
        """Waits until a checkpoint that starts after this call has completed."""
        # One may be in progress, and the job takes one at a time.
        self.wait_for_checkpoint()
        self.wait_for_checkpoint()

    def wait_for_restore(self) -> None:
        """Waits until the job has resumed from a checkpoint, whichever job manager runs it now."""

        def restored() -> bool:
            try:
                return self.checkpoints()["restored"] > 0
            except (FlinkUnreachableError, FlinkJobError, AssertionError):
                return False  # a job manager that is new answers late, and knows its jobs later

        self.eventually(restored, "the job is restored")

    def wait_for_more_results(self, count: int = 300) -> None:
        """Waits until this many more results have arrived."""
        wanted = len(self.results_to_the_end()) + count
        self.eventually(lambda: len(self.results_to_the_end()) >= wanted, f"{count} more results")


def longest_gap(results: list[Result]) -> float:
    """The longest time in seconds in which no record was scored."""
    times = sorted(result.metadata["startTime"] / 1e6 for result in results)  # microseconds
    return max((later - earlier for earlier, later in itertools.pairwise(times)), default=0.0)


def duplicates(results: list[Result]) -> int:
    """The number of results for records that already have one."""
    return len(results) - len({result.where for result in results})
