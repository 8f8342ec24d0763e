"""The classic template: a staged graph from which jobs are started with a few parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from beam_pipeline.cli.arguments import OPTIONS
from beam_pipeline.cli.option_values import serving_options
from beam_pipeline.options import ServingOptions
from beam_pipeline.running import graph_of
from beam_pipeline.template.metadata import as_json, classic_metadata
from beam_pipeline.template.parameters import RUNTIME, parameter_name
from beam_pipeline.template.runtime_values import TemplateOptions
from runners.dataflow.storage import write_text
from runners.plan import plan_runner


def classic_options(values: Mapping[str, Any], arguments: Sequence[str]) -> TemplateOptions:
    """The options of a template that is built with these values; raises OptionsError when they are not valid."""
    stand_ins = {OPTIONS[name].field: f"{{{parameter_name(name)}}}" for name in RUNTIME if name != "start"}
    checked = serving_options({**stand_ins, **values, "runner": "DataflowRunner"}, arguments)
    return TemplateOptions.of(checked, values)


def without_parameters(options: ServingOptions) -> ServingOptions:
    """The options with valid stand-ins for parameters whose {NAME} would fail the checks made without a job."""
    return replace(options, bootstrap_servers="localhost:1", start="committed")


def build_classic(options: TemplateOptions, values: Mapping[str, Any], location: str) -> None:
    """Stages the template at `location` and its metadata in LOCATION_metadata, where Dataflow expects it.

    Args:
      options: the result of `classic_options`.
      values: the values given to `classic_options`.
      location: gs://BUCKET/OBJECT.

    Raises:
      OptionsError, CloudResourceError, WheelError: something is wrong, and nothing was staged.
    """
    plan = plan_runner(options.runner, [*options.runner_arguments, f"--template_location={location}"])
    pipeline = graph_of(options, plan)
    pipeline.run()
    write_text(pipeline.options, f"{location}_metadata", as_json(classic_metadata(values)))
