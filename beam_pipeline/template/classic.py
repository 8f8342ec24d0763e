"""The classic template: the graph itself, staged; a job is started from it with a few parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from beam_pipeline.cli.arguments import OPTIONS, serving_options
from beam_pipeline.options import ServingOptions
from beam_pipeline.running import graph_of
from beam_pipeline.template.metadata import as_json, classic_metadata
from beam_pipeline.template.parameters import RUNTIME, parameter_name
from beam_pipeline.template.runtime_values import TemplateOptions
from runners.dataflow.storage import write_text
from runners.plan import plan_runner


def classic_options(values: Mapping[str, Any], arguments: Sequence[str]) -> TemplateOptions:
    """The options of a template that is built with these values; raises OptionsError when they cannot be."""
    stand_ins = {OPTIONS[name].field: f"{{{parameter_name(name)}}}" for name in RUNTIME if name != "start"}
    checked = serving_options({**stand_ins, **values, "runner": "DataflowRunner"}, arguments)
    return TemplateOptions.of(checked, values)


def without_parameters(options: ServingOptions) -> ServingOptions:
    """The options as they can be tried without a job: no broker's address is a parameter's name."""
    return replace(options, bootstrap_servers="localhost:1", start="committed")


def build_classic(options: TemplateOptions, values: Mapping[str, Any], location: str) -> None:
    """Stages the template at `location`, and its metadata beside it, where Dataflow looks for them.

    Args:
      options: from `classic_options`.
      values: what they were made of.
      location: gs://BUCKET/OBJECT.

    Raises:
      OptionsError, CloudResourceError, WheelError: before anything is staged.
    """
    plan = plan_runner(options.runner, [*options.runner_arguments, f"--template_location={location}"])
    pipeline = graph_of(options, plan)
    pipeline.run()
    write_text(pipeline.options, f"{location}_metadata", as_json(classic_metadata(values)))
