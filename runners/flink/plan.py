"""Flink: a cluster that is there, one inside this run, or a jar for one that starts with it.

What it sets was measured: without a limit in time a bundle waits more than a second for its end; without checkpoints a
failure begins the records anew.
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
from runners.flink.configuration import JOB_CONFIGURATION, WORKER_POOL_PORT, write_configuration
from runners.flink.jars import job_server_jar
from runners.flink.job import FlinkJob
from runners.flink.options import EMBEDDED, FlinkServingOptions
from runners.flink.rest import FlinkRest
from runners.plan import RunnerPlan

REMOTE = False

# The Flink that our job server is built for.
FLINK_VERSION = "1.19"
WORKER_POOL = f"localhost:{WORKER_POOL_PORT}"

_DEFAULTS = {
    "checkpointing_interval": 10_000,  # milliseconds
    # What a bundle gives leaves it at its end; bundles that end at once would cost more than they carry.
    "max_bundle_time_mills": 10,
    # As many worker processes as there are cores: one Python process cannot score for two tasks at once.
    "sdk_worker_parallelism": 0,
    # What is chained depends on the parallelism, and operators' identities on what is chained: a savepoint could not go
    # on with another parallelism.
    "operator_chaining": "false",
}
_LOCAL_HOSTS = ("localhost", "127.0.0.1")
_ADDRESS = re.compile(r"(https?://)?(?P<host>[^\s/:]+|\[[0-9a-fA-F:]+\]):\d{1,5}/?")


def plan(arguments: Sequence[str]) -> RunnerPlan:
    """Flink at --flink-master, or an embedded one; with --output_executable_path only a jar is written.

    Raises:
      OptionsError: for combinations that cannot work, with the reason.
      FlinkUnreachableError: when no cluster answers.
      FlinkJobError: when the cluster has another version, or too few free slots.
      JobServerUnavailableError, JavaToolError: when the job server's jar cannot be had.
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
      parallelism: of the job; below 1: the cluster's own.

    Raises:
      FlinkUnreachableError: when it does not answer.
      FlinkJobError: for another version than the job server's, or too few free slots (the job would wait for ever).
    """
    cluster = rest.overview()
    if not cluster.version.startswith(f"{FLINK_VERSION}."):
        raise FlinkJobError(
            f"the cluster at {rest.address} is Flink {cluster.version}; the job server is built for {FLINK_VERSION}: "
            "name one for this cluster with --flink_job_server_jar and --flink_version"
        )
    needed = max(1, parallelism)
    if cluster.free_slots < needed:
        raise FlinkJobError(
            f"the cluster at {rest.address} has {cluster.free_slots} of {cluster.slots} task slots free, and "
            f"--parallelism={needed} needs {needed}: add task managers, cancel another job, or lower it"
        )


def _with_jar(common: Sequence[str], options: PipelineOptions, address: str | None, name: str) -> RunnerPlan:
    """A jar with the pipeline in it: written, or submitted to the cluster."""
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
        f"--flink_job_server_jar={job_server_jar(flink.flink_job_server_jar)}",
    )
    if rest is None:
        return RunnerPlan(arguments, "each", "state", handed_over=lambda _: f"the job's jar is {written}")
    savepoints = options.view_as(FlinkServingOptions).savepoint_on_stop
    return RunnerPlan(arguments, "each", "state", job=lambda: FlinkJob(rest, name, savepoints))


def _workers(portable: PortableOptions) -> list[str]:
    """Where task managers find their Python workers: a worker pool beside each, unless another place is given."""
    arguments = [] if portable.environment_type else ["--environment_type=EXTERNAL"]
    if portable.environment_type in (None, "EXTERNAL") and not portable.environment_config:
        arguments.append(f"--environment_config={WORKER_POOL}")
    return arguments


def _embedded(common: Sequence[str], options: PipelineOptions) -> RunnerPlan:
    """A Flink inside the job server, which ends with this process; the workers are in this process."""
    jar = job_server_jar(options.view_as(FlinkRunnerOptions).flink_job_server_jar)
    configuration = Path(tempfile.mkdtemp(prefix="beam-serving-flink-"))
    atexit.register(shutil.rmtree, configuration, ignore_errors=True)
    write_configuration(configuration, JOB_CONFIGURATION)
    arguments = (
        "--runner=FlinkRunner",
        *common,
        "--environment_type=LOOPBACK",
        f"--flink_master={EMBEDDED}",
        f"--flink_conf_dir={configuration}",
        f"--flink_job_server_jar={jar}",
    )
    return RunnerPlan(arguments, "each", "state")


def _address(options: PipelineOptions) -> str | None:
    """HOST:PORT of the cluster, as our option or Beam's names it; None: embedded."""
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
            "--environment_type=LOOPBACK puts the workers into this process, which task managers elsewhere do not "
            "reach: start a worker pool beside each task manager and name it with --environment_config=HOST:PORT"
        )
    if written and serving.savepoint_on_stop:
        raise OptionsError("--savepoint-on-stop does nothing with --output_executable_path: nothing runs here")
    if serving.checkpointing_interval is not None and serving.checkpointing_interval <= 0:
        raise OptionsError(
            "--checkpointing_interval must be above 0: without checkpoints the job would begin anew after a failure"
        )


def _check_embedded(portable: PortableOptions, serving: FlinkServingOptions) -> None:
    for name, value in (
        ("--savepoint-on-stop", serving.savepoint_on_stop),
        ("--savepoint_path", serving.savepoint_path),
    ):
        if value:
            raise OptionsError(f"{name} needs a cluster that outlives this run: name it with --flink-master")
    if portable.environment_type not in (None, "LOOPBACK"):
        raise OptionsError(
            f"--environment_type={portable.environment_type} cannot be used with the embedded Flink: its workers "
            "run in this process; name a cluster with --flink-master"
        )


def _host(address: str | None) -> str:
    found = _ADDRESS.fullmatch(address or "")
    return found["host"] if found else ""
