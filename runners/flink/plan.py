"""Flink: an existing cluster, an embedded one, or a jar for a cluster that starts with the job.

The defaults come from measurements: without a time limit, a bundle takes more than a second to end; without
checkpoints, a job starts from the beginning after a failure.
"""

from __future__ import annotations

import atexit
import re
import shutil
import tempfile
import uuid
from collections.abc import Sequence
from pathlib import Path

from apache_beam.options.pipeline_options import FlinkRunnerOptions, PipelineOptions, PortableOptions
from apache_beam.runners.portability.flink_runner import MAGIC_HOST_NAMES

from models.errors import FlinkJobError, OptionsError
from runners.flink.configuration import JOB_CONFIGURATION, write_configuration
from runners.flink.jars import has_beam_fixes, job_server_jar
from runners.flink.job import FlinkJob
from runners.flink.options import EMBEDDED, FlinkServingOptions
from runners.flink.rest import FlinkRest
from runners.plan import RunnerPlan
from runners.worker.pool_port import WORKER_POOL_PORT

REMOTE = False

# The version of Flink that our job server is built for.
FLINK_VERSION = "1.19"
WORKER_POOL = f"localhost:{WORKER_POOL_PORT}"

_DEFAULTS = {
    "checkpointing_interval": 10_000,  # milliseconds
    # 0 means as many worker processes as cores, because one Python process cannot score for two tasks at once.
    "sdk_worker_parallelism": 0,
    # Chaining depends on the parallelism, and operator ids depend on chaining: with it, a job could not resume from a
    # savepoint with another parallelism.
    "operator_chaining": "false",
}
# The maximum duration of a bundle, in milliseconds. Our job server ends a bundle when its elements are taken, so that
# the clock behind this limit is only a safety net. Each task pays for its ticks: with 10 ms, a job of parallelism 2
# spends a fifth of a core on them. A bundle of another job server ends only after this time.
_BUNDLE_TIME, _BUNDLE_TIME_OF_OTHERS = 1000, 10
_LOCAL_HOSTS = ("localhost", "127.0.0.1")
_ADDRESS = re.compile(r"(https?://)?(?P<host>[^\s/:]+|\[[0-9a-fA-F:]+\]):\d{1,5}/?")


def plan(arguments: Sequence[str]) -> RunnerPlan:
    """Plans a run on the Flink at --flink-master or on an embedded one, or only a jar (--output_executable_path).

    Raises:
      OptionsError: options cannot be combined; the message has the reason.
      FlinkUnreachableError: no cluster answers.
      FlinkJobError: the cluster has another version or too few free slots.
      JobServerUnavailableError, JavaToolError: the job server's jar can be neither found nor built.
    """
    options = PipelineOptions(list(arguments))
    address = _address(options)
    _check_settings(options, address)
    given = options.get_all_options(drop_default=True)
    name = given.get("job_name") or f"beam-serving-{uuid.uuid4().hex[:8]}"
    common = [
        "--streaming",
        f"--flink_version={given.get('flink_version', FLINK_VERSION)}",
        *(f"--{name}={value}" for name, value in _DEFAULTS.items() if name not in given),
        f"--job_name={name}",
        *arguments,
    ]
    if address is not None or options.view_as(PortableOptions).output_executable_path:
        return _with_jar(common, options, address, name)
    return _embedded(common, options)


def check_cluster(rest: FlinkRest, parallelism: int) -> None:
    """Checks that a cluster can run the job.

    Args:
      rest: the cluster.
      parallelism: the parallelism of the job; below 1 for the cluster's default.

    Raises:
      FlinkUnreachableError: the cluster does not answer.
      FlinkJobError: the cluster's version is not that of the job server, or it has too few free slots (the job would
        wait for them forever).
    """
    cluster = rest.overview()
    if not cluster.version.startswith(f"{FLINK_VERSION}."):
        raise FlinkJobError(
            f"the cluster at {rest.address} is Flink {cluster.version}, but the job server is built for "
            f"{FLINK_VERSION}: pass one for this cluster with --flink_job_server_jar and --flink_version"
        )
    needed = max(1, parallelism)
    if cluster.free_slots < needed:
        raise FlinkJobError(
            f"the cluster at {rest.address} has {cluster.free_slots} of {cluster.slots} task slots free, and "
            f"--parallelism={needed} needs {needed}: add task managers, cancel another job, or lower the parallelism"
        )


def _with_jar(common: Sequence[str], options: PipelineOptions, address: str | None, name: str) -> RunnerPlan:
    """Plans a jar that contains the pipeline, which is written to a file or submitted to the cluster."""
    portable, flink = options.view_as(PortableOptions), options.view_as(FlinkRunnerOptions)
    written = portable.output_executable_path
    rest = FlinkRest(address) if address and not written else None
    if rest is not None and not flink.flink_job_server_jar:
        check_cluster(rest, flink.parallelism)
    arguments = (
        "--runner=runners.flink.submission.ClusterRunner",
        *common,
        *_workers(portable),
        "--flink_submit_uber_jar",
        f"--flink_master={address or 'localhost:8081'}",
        *_job_server(flink),
    )
    if rest is None:
        return RunnerPlan(
            arguments, "each", "state", "buckets", handed_over=lambda _: f"the job's jar was written to {written}"
        )
    savepoints = options.view_as(FlinkServingOptions).savepoint_on_stop
    return RunnerPlan(arguments, "each", "state", "buckets", job=lambda: FlinkJob(rest, name, savepoints))


def _workers(portable: PortableOptions) -> list[str]:
    """The environment of the Python workers: a worker pool next to each task manager, unless another is given."""
    arguments = [] if portable.environment_type else ["--environment_type=EXTERNAL"]
    if portable.environment_type in (None, "EXTERNAL") and not portable.environment_config:
        arguments.append(f"--environment_config={WORKER_POOL}")
    return arguments


def _embedded(common: Sequence[str], options: PipelineOptions) -> RunnerPlan:
    """Plans a run on a Flink embedded in the job server, which ends with this process and whose workers it hosts."""
    job_server = _job_server(options.view_as(FlinkRunnerOptions))
    configuration = Path(tempfile.mkdtemp(prefix="beam-serving-flink-"))
    atexit.register(shutil.rmtree, configuration, ignore_errors=True)
    write_configuration(configuration, JOB_CONFIGURATION)
    arguments = (
        "--runner=FlinkRunner",
        *common,
        "--environment_type=LOOPBACK",
        f"--flink_master={EMBEDDED}",
        f"--flink_conf_dir={configuration}",
        *job_server,
    )
    return RunnerPlan(arguments, "each", "state", "buckets")


def _job_server(flink: FlinkRunnerOptions) -> list[str]:
    """The job server's jar, and the duration of bundles that suits it unless the user gave one."""
    jar = job_server_jar(flink.flink_job_server_jar)
    arguments = [f"--flink_job_server_jar={jar}"]
    if "max_bundle_time_mills" not in flink.get_all_options(drop_default=True):
        longest = _BUNDLE_TIME if has_beam_fixes(jar) else _BUNDLE_TIME_OF_OTHERS
        arguments.append(f"--max_bundle_time_mills={longest}")
    return arguments


def _address(options: PipelineOptions) -> str | None:
    """HOST:PORT of the cluster, from our option or from Beam's; None for an embedded Flink."""
    address = options.view_as(FlinkServingOptions).flink_rest_address
    if address is None:
        named = options.view_as(FlinkRunnerOptions).flink_master
        return None if named in MAGIC_HOST_NAMES else str(named)
    if not _ADDRESS.fullmatch(address):
        raise OptionsError(f"--flink-master {address!r} is not HOST:PORT of a Flink cluster's REST endpoint")
    return str(address)


def _check_settings(options: PipelineOptions, address: str | None) -> None:
    portable, serving = options.view_as(PortableOptions), options.view_as(FlinkServingOptions)
    written = portable.output_executable_path
    if address is None and not written:
        _check_embedded(portable, serving)
    elif portable.environment_type == "LOOPBACK" and (written or _host(address) not in _LOCAL_HOSTS):
        raise OptionsError(
            "--environment_type=LOOPBACK runs the workers in this process, which remote task managers cannot reach: "
            "start a worker pool next to each task manager and pass its --environment_config=HOST:PORT"
        )
    if written and serving.savepoint_on_stop:
        raise OptionsError("--savepoint-on-stop has no effect with --output_executable_path, which starts no job")
    if serving.checkpointing_interval is not None and serving.checkpointing_interval <= 0:
        raise OptionsError(
            "--checkpointing_interval must be greater than 0: without checkpoints, the job would start from the "
            "beginning after a failure"
        )


def _check_embedded(portable: PortableOptions, serving: FlinkServingOptions) -> None:
    for name, value in (
        ("--savepoint-on-stop", serving.savepoint_on_stop),
        ("--savepoint_path", serving.savepoint_path),
    ):
        if value:
            raise OptionsError(f"{name} needs a cluster that outlives this run: pass its address with --flink-master")
    if portable.environment_type not in (None, "LOOPBACK"):
        raise OptionsError(
            f"--environment_type={portable.environment_type} cannot be used with the embedded Flink, whose workers "
            "run in this process; pass the address of a cluster with --flink-master"
        )


def _host(address: str | None) -> str:
    found = _ADDRESS.fullmatch(address or "")
    return found["host"] if found else ""
