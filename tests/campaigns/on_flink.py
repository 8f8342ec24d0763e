"""Disturbs a deployment on Flink: kills its workers, and changes its parallelism at savepoints."""

from __future__ import annotations

from dataclasses import dataclass

from runners.flink.cluster import LocalFlinkCluster
from tests.end_to_end.flink.flink_deployment import FlinkDeployment


@dataclass
class FlinkDisturbances:
    """Starts a job, and disturbs it after each round by a kill, or each `rescale_every`-th time by a savepoint.

    Attributes:
      cluster: a cluster with enough slots for each of `parallelisms`.
      deployment: a deployment on that cluster.
      rescale_every: 1 to rescale each time.
      parallelisms: the parallelisms of the job, used in turn.
    """

    cluster: LocalFlinkCluster
    deployment: FlinkDeployment
    rescale_every: int
    parallelisms: tuple[int, int] = (1, 2)

    def start(self) -> None:
        """Submits the job with the first parallelism."""
        self._submit(self.parallelisms[0])

    def disturb(self, number: int) -> None:
        """Kills a worker process, or takes a savepoint and resumes from it with the other parallelism."""
        self.deployment.wait_for_more_results()  # the workers of the round run
        if number % self.rescale_every:
            self.cluster.kill_worker()
        else:
            self._rescale()

    def _rescale(self) -> None:
        process, folder = self.deployment.process, self.cluster.savepoint_folder
        assert process is not None
        before = set(folder.iterdir()) if folder.exists() else set()
        assert process.stop() == 0, process.log()[-2000:]
        (savepoint,) = set(folder.iterdir()) - before
        first, second = self.parallelisms
        self._submit(
            second if self.deployment.parallelism == first else first, f"--savepoint_path={savepoint.as_uri()}"
        )

    def _submit(self, parallelism: int, *options: str) -> None:
        self.deployment.parallelism = parallelism
        self.deployment.start(f"--savepoint-on-stop={self.cluster.savepoint_folder.as_uri()}", *options)
