"""The job's jar, which Kubernetes runs in application mode: `run` writes it, and Flink alone starts it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runners.flink.cluster import JOB_MANAGER_CLASS, LocalFlinkCluster
from runners.flink.submission import ENTRY_CLASS
from tests.end_to_end.deployment import Deployment
from tests.end_to_end.flink.conftest import DeployOnFlink
from tests.end_to_end.test_updates import X, record

APPLICATION_CLASS = "org.apache.flink.container.entrypoint.StandaloneApplicationClusterEntryPoint"

MakeCluster = Callable[..., LocalFlinkCluster]


@contextmanager
def application(jar: Path) -> Iterator[None]:
    """Job managers started in this block run this jar and nothing else, as in Flink's application mode."""
    with pytest.MonkeyPatch.context() as patch:
        started = LocalFlinkCluster._java

        def start(cluster: LocalFlinkCluster, name: str, main_class: str, *rest: list[str]) -> object:
            if main_class != JOB_MANAGER_CLASS:
                return started(cluster, name, main_class, *rest)
            memory, arguments = rest
            ours = ["--job-classname", ENTRY_CLASS, "--jars", jar.as_uri()]
            return started(cluster, name, APPLICATION_CLASS, memory, [*arguments, *ours])

        patch.setattr(LocalFlinkCluster, "_java", start)
        yield


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_the_written_jar_is_a_whole_application(
    make_cluster: MakeCluster, deploy: DeployOnFlink, version_model: Callable[..., Path], tmp_path: Path
) -> None:
    session = make_cluster()
    deployment = deploy(session)
    deployment.publish("m", version_model(1), X)
    jar = tmp_path / "made" / "job.jar"
    process = Deployment.start(
        deployment,
        runner="FlinkRunner",
        runner_options=[
            f"--output_executable_path={jar}",
            f"--environment_config={session.worker_pool_address}",
            "--job_name=in-the-jar",
        ],
    )
    assert process.wait(60) == 0
    assert f"the job's jar was written to {jar}" in process.log()
    with application(jar):
        session.kill_job_manager()
        session.start_job_manager()
        (result,) = deployment.score(record("m"))
    assert (result.version, result.error) == (1, None)
    assert deployment.rest.job_named("in-the-jar") is not None
    # A jar of the same name in a folder that clusters share would have been run in its stead.
    assert [path.name for path in session.work_folder.glob("artifacts/**/*.jar")] == [jar.name]
