"""The command lines that start a job from a template."""

from __future__ import annotations

from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions

from beam_pipeline.template.parameters import RUNTIME, is_required, parameter_name

_JOB = "beam-serving"


def classic_command(location: str, options: PipelineOptions) -> str:
    """The command that starts a job from the classic template at `location`."""
    return _command(f"gcloud dataflow jobs run {_JOB} --gcs-location={location}", options)


def flex_command(location: str, options: PipelineOptions) -> str:
    """The command that starts a job from the Flex template at `location`."""
    command = _command(f"gcloud dataflow flex-template run {_JOB} --template-file-gcs-location={location}", options)
    return f"{command},record_schema=SCHEMA"


def _command(start: str, options: PipelineOptions) -> str:
    cloud = options.view_as(GoogleCloudOptions)
    required = [parameter_name(name) for name in RUNTIME if is_required(name)]
    # A list of several brokers contains commas, so users then need another delimiter (see `gcloud topic escaping`).
    parameters = ",".join(f"{name}={name.upper()}" for name in required)
    return f"{start} --project={cloud.project} --region={cloud.region} --parameters={parameters}"
