"""The Flex template: a container image that builds the graph when a job is started, and a file that names it."""

from __future__ import annotations

from collections.abc import Sequence

from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions, WorkerOptions
from google.cloud import dataflow_v1beta3 as dataflow

from beam_pipeline.template.metadata import as_json, flex_metadata
from models.errors import OptionsError
from runners.dataflow.access import check_access
from runners.dataflow.plan import LABEL, MACHINE_TYPE, MAX_WORKERS
from runners.dataflow.settings import check_settings
from runners.dataflow.storage import write_text


def container_spec(image: str, options: PipelineOptions) -> dataflow.ContainerSpec:
    """The specification that `gcloud dataflow flex-template build` would write.

    It holds the image, the parameters and the default environment of the jobs.

    Args:
      image: the image of the launcher, and of the workers unless --sdk_container_image names another.
      options: Beam's options; their settings for workers and network become the defaults of each job.
    """
    return dataflow.ContainerSpec(
        image=image,
        metadata=flex_metadata(),
        sdk_info=dataflow.SDKInfo(language=dataflow.SDKInfo.Language.PYTHON),
        default_environment=_environment(image, options),
    )


def build_flex(image: str, arguments: Sequence[str], location: str) -> None:
    """Writes the container spec to `location`, gs://BUCKET/OBJECT.

    Raises:
      OptionsError, CloudResourceError: something is wrong, and nothing was written.
    """
    if not image or any(letter.isspace() for letter in image):
        raise OptionsError(f"--image {image!r} is not the name of a container image")
    options = PipelineOptions([*arguments, f"--template_location={location}"])
    check_settings(options)
    check_access(options)
    write_text(options, location, as_json(container_spec(image, options)))


def _environment(image: str, options: PipelineOptions) -> dataflow.FlexTemplateRuntimeEnvironment:
    cloud, workers = options.view_as(GoogleCloudOptions), options.view_as(WorkerOptions)
    private = dataflow.WorkerIPAddressConfiguration.WORKER_IP_PRIVATE
    return dataflow.FlexTemplateRuntimeEnvironment(
        machine_type=workers.machine_type or MACHINE_TYPE,
        num_workers=workers.num_workers,
        max_workers=workers.max_num_workers or max(MAX_WORKERS, workers.num_workers or 0),
        enable_streaming_engine=True,
        additional_user_labels=_labels([LABEL, *(cloud.labels or ())]),
        sdk_container_image=workers.sdk_container_image or image,
        temp_location=cloud.temp_location,
        staging_location=cloud.staging_location,
        service_account_email=cloud.service_account_email,
        network=workers.network,
        subnetwork=workers.subnetwork,
        ip_configuration=private if workers.use_public_ips is False else None,
        kms_key_name=cloud.dataflow_kms_key,
        worker_region=workers.worker_region,
        worker_zone=workers.worker_zone,
        disk_size_gb=workers.disk_size_gb,
    )


def _labels(labels: Sequence[str]) -> dict[str, str]:
    return dict(label.split("=", 1) for label in labels)
