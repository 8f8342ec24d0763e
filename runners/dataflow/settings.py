"""Checks Dataflow's settings, as far as possible without asking Google."""

from __future__ import annotations

import re
from collections.abc import Callable

from apache_beam.options.pipeline_options import DebugOptions, GoogleCloudOptions, PipelineOptions, StandardOptions
from apache_beam.options.pipeline_options_validator import PipelineOptionsValidator
from apache_beam.runners.dataflow.dataflow_runner import DataflowRunner

from models.errors import OptionsError

_PROJECT = re.compile(r"([a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]")
_REGION = re.compile(r"[a-z]+(-[a-z]+)+[0-9]+")
_ZONE = re.compile(r"([a-z]+(-[a-z]+)+[0-9]+)-[a-z]")
_LABEL = re.compile(r"[a-z][a-z0-9_-]{0,62}=[a-z0-9_-]{0,63}")
_JOB = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
LOCATION = re.compile(r"gs://(?P<bucket>[a-z0-9][a-z0-9._-]{1,220}[a-z0-9])/(?P<object>[^\r\n]+)")

_LOCATIONS = ("temp_location", "staging_location", "template_location")
# These experiments turn off features that the graph's state and unbounded sources need.
_REFUSED_EXPERIMENTS = ("disable_runner_v2", "disable_streaming_engine", "disable_portable_runner")


def check_settings(options: PipelineOptions) -> None:
    """Raises OptionsError for a setting that is missing or malformed, or for two that contradict each other."""
    cloud = options.view_as(GoogleCloudOptions)
    _check("project", cloud.project, _PROJECT.fullmatch, "the id of a project (not its name or number)")
    _check("region", cloud.region, _REGION.fullmatch, _region_hint(cloud.region))
    for name in _LOCATIONS:
        if name == "temp_location" or getattr(cloud, name):
            _check(name, getattr(cloud, name), LOCATION.fullmatch, "gs://BUCKET/FOLDER")
    if cloud.job_name:
        _check("job_name", cloud.job_name, _JOB.fullmatch, "a letter, then at most 62 of a-z, 0-9 and -")
    for label in cloud.labels or ():
        if not label.startswith("{"):  # Beam also accepts JSON, which the Flex launcher passes
            _check("labels", label, _LABEL.fullmatch, "KEY=VALUE of a-z, 0-9, _ and -")
    if cloud.update and not cloud.job_name:
        raise OptionsError("--update replaces a running job: name the job with --job_name")
    _check_workers(options)
    errors = PipelineOptionsValidator(options, DataflowRunner()).validate()
    if errors:
        raise OptionsError(f"Dataflow: {'; '.join(errors)}")


def _check(name: str, value: str | None, fits: Callable[[str], object], wanted: str) -> None:
    if not value:
        raise OptionsError(f"--{name} is missing; Dataflow needs {wanted}")
    if not fits(value):
        raise OptionsError(f"--{name} {value!r} is not valid; it must be {wanted}")


def _region_hint(region: str | None) -> str:
    zone = _ZONE.fullmatch(region or "")
    return f"a region, such as {zone[1] if zone else 'europe-west1'}"


def _check_workers(options: PipelineOptions) -> None:
    for experiment in options.view_as(DebugOptions).experiments or ():
        if experiment.startswith(_REFUSED_EXPERIMENTS):
            raise OptionsError(
                f"--experiments={experiment} cannot be used: it turns off a feature that the graph needs"
            )
    services = options.view_as(GoogleCloudOptions).dataflow_service_options or ()
    hints = options.view_as(StandardOptions).resource_hints or ()
    if any(one.startswith("worker_accelerator") for one in services) and any("accelerator" in one for one in hints):
        raise OptionsError(
            "give either --resource_hints=accelerator or the service option worker_accelerator, not both"
        )
