"""Google Cloud Dataflow with Streaming Engine and Runner v2.

The service runs the job, so mistakes are reported here, before anything is staged.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from apache_beam.options.pipeline_options import (
    GoogleCloudOptions,
    PipelineOptions,
    SetupOptions,
    WorkerOptions,
)

from runners.dataflow.access import check_access
from runners.dataflow.settings import check_settings
from runners.plan import RunnerPlan
from runners.worker.wheel import build_wheel

_LOGGER = logging.getLogger(__name__)

REMOTE = True

# Dataflow runs one worker process per virtual CPU, each with its own models; this machine has 4 GB for each.
MACHINE_TYPE = "n2-standard-4"
MAX_WORKERS = 5
LABEL = "application=beam-serving"


def plan(arguments: Sequence[str]) -> RunnerPlan:
    """Plans a streaming job in --project and --region, staged under --temp_location.

    The workers get this application from --sdk_container_image or from the wheels of --extra_package. If neither is
    given, the wheel is built and staged. With --template_location, the job is written there instead of being started.

    Raises:
      OptionsError: a setting is missing or wrong.
      CloudResourceError: the project, the region, a bucket or the job to update does not exist or denies access.
      WheelError: the wheel is needed and cannot be built.
    """
    options = PipelineOptions(list(arguments))
    check_settings(options)
    check_access(options)
    return RunnerPlan(
        (
            "--runner=DataflowRunner",
            "--streaming",
            "--enable_streaming_engine",
            "--experiments=use_runner_v2",
            # Beam's default on Dataflow is to pickle the main session, which our DoFns do not need: workers import
            # them from the wheel.
            "--no_save_main_session",
            "--sdk_location=container",
            "--autoscaling_algorithm=THROUGHPUT_BASED",
            f"--machine_type={MACHINE_TYPE}",
            f"--labels={LABEL}",
            *_limits(options),
            *_packages(options),
            *arguments,
        ),
        firing="each",
        frontiers="state",
        metrics="sums",
        handed_over=lambda result: _whereabouts(options, result),
    )


def _limits(options: PipelineOptions) -> list[str]:
    """The maximum number of workers, unless it is given; never less than the initial number."""
    workers = options.view_as(WorkerOptions)
    if workers.max_num_workers:
        return []
    return [f"--max_num_workers={max(MAX_WORKERS, workers.num_workers or 0)}"]


def _packages(options: PipelineOptions) -> list[str]:
    workers = options.view_as(WorkerOptions)
    if workers.sdk_container_image:
        return []
    if workers.use_public_ips is False:
        _LOGGER.warning(
            "workers without public addresses cannot reach a package index: use --sdk_container_image, or give the "
            "subnetwork access to the internet"
        )
    if options.view_as(SetupOptions).extra_packages:
        return []
    return [f"--extra_package={build_wheel()}"]


def _whereabouts(options: PipelineOptions, result: Any) -> str:
    """The location of the job: its page in the console, or the file of the template."""
    cloud = options.view_as(GoogleCloudOptions)
    if not result.has_job:
        return f"the job was written to {cloud.template_location}"
    job_id = result.job_id()
    url = f"https://console.cloud.google.com/dataflow/jobs/{cloud.region}/{job_id}?project={cloud.project}"
    return f"Dataflow job {job_id}: {url}"
