"""Google Cloud Dataflow: Streaming Engine and Runner v2.

The service runs the job: what was wrong with it is told here, before anything is staged.
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

# One worker process a virtual CPU, each with models of its own: four gigabytes for each.
MACHINE_TYPE = "n2-standard-4"
MAX_WORKERS = 5
LABEL = "application=beam-serving"


def plan(arguments: Sequence[str]) -> RunnerPlan:
    """A streaming job of --project in --region, staged under --temp_location.

    The workers get this application from --sdk_container_image, or from the wheels of --extra_package; when neither is
    given, the wheel is built and staged. With --template_location the job is written there and not started.

    Raises:
      OptionsError: for settings that cannot work.
      CloudResourceError: when the project, region, a bucket or the job to update is not there for us.
      WheelError: when the wheel is needed and cannot be built.
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
            # With cloudpickle, Beam's default on Dataflow is to pickle the main session.
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
        handed_over=lambda result: _whereabouts(options, result),
    )


def _limits(options: PipelineOptions) -> list[str]:
    """The most workers, unless they are given or more are wanted from the start."""
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
            "without public addresses the workers reach no package index: give --sdk_container_image, or see to it "
            "that the subnetwork has a way out"
        )
    if options.view_as(SetupOptions).extra_packages:
        return []
    return [f"--extra_package={build_wheel()}"]


def _whereabouts(options: PipelineOptions, result: Any) -> str:
    """Where the job went: the service, or the file that a template is."""
    cloud = options.view_as(GoogleCloudOptions)
    if not result.has_job:
        return f"the job is written to {cloud.template_location}"
    job_id = result.job_id()
    url = f"https://console.cloud.google.com/dataflow/jobs/{cloud.region}/{job_id}?project={cloud.project}"
    return f"job {job_id} of Dataflow: {url}"
