"""Values that are known only when a job is started from a classic template.

A graph is pickled when the template is built, and unpickled in the workers of each job. These values are pickled as the
name of a parameter and unpickled as the value that the job was given, so transforms do not need to know about them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.options.value_provider import RuntimeValueProvider

from beam_pipeline.cli.arguments import OPTIONS
from beam_pipeline.options import ServingOptions
from beam_pipeline.template.parameters import RUNTIME, defaults, is_required, parameter_name
from models.errors import OptionsError
from models.kafka.partition_reader import ReadSettings
from models.kafka.start_at import StartAt


class TemplateParameters(PipelineOptions):
    """The runtime parameters, declared as Beam options so that Beam passes them to the workers."""

    @classmethod
    def _add_argparse_args(cls, parser: Any) -> None:
        for name in RUNTIME:
            parser.add_value_provider_argument(f"--{parameter_name(name)}", type=str)


class RuntimeText(str):
    """The text value of a parameter; while the template is built, it is the placeholder {NAME}.

    Args:
      name: the name of the option.
      default: the value if the job is not given one. With None, the parameter is required if `run` requires the option;
        otherwise the option has no value.
    """

    name: str
    default: str | None

    def __new__(cls, name: str, default: str | None) -> RuntimeText:
        text = super().__new__(cls, f"{{{parameter_name(name)}}}")
        text.name = name
        text.default = default
        return text

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, str | None]]:
        return text_of, (self.name, self.default)


@dataclass(frozen=True)
class RuntimeStart(StartAt):
    """The start position from a parameter; while the template is built, it is the default.

    Attributes:
      default: the position, as for --start, if the job is not given one.
    """

    default: str = "committed"

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return start_of, (self.default,)


def text_of(name: str, default: str | None) -> str | None:
    """The parameter's value in a worker, or a `RuntimeText` elsewhere.

    Raises:
      OptionsError: the worker's job was started without a required parameter.
    """
    if RuntimeValueProvider.runtime_options is None:
        return RuntimeText(name, default)
    value: str | None = RuntimeValueProvider.get_value(parameter_name(name), str, default)
    if value is None and is_required(name):
        raise OptionsError(f"the job was started without the template's parameter {parameter_name(name)!r}")
    return value


def start_of(default: str) -> StartAt:
    """The start position in a worker, or a `RuntimeStart` elsewhere; raises OptionsError when it is malformed."""
    if RuntimeValueProvider.runtime_options is None:
        return runtime_start(default)
    return StartAt.parse(RuntimeValueProvider.get_value(parameter_name("start"), str, default))


def runtime_start(default: str) -> RuntimeStart:
    """The start position as a parameter; raises OptionsError when its default is malformed."""
    parsed = StartAt.parse(default)
    return RuntimeStart(parsed.kind, parsed.timestamp, default)


@dataclass(frozen=True)
class TemplateOptions(ServingOptions):
    """The options of a classic template, in which the options of `RUNTIME` are parameters."""

    @classmethod
    def of(cls, options: ServingOptions, values: Mapping[str, Any]) -> TemplateOptions:
        """Replaces the options that a job may set by parameters.

        Args:
          options: the options, already checked.
          values: the values that were given, by attribute; they become the defaults of the parameters.
        """
        named = {one.name: getattr(options, one.name) for one in fields(ServingOptions)}
        texts = {
            OPTIONS[name].field: RuntimeText(name, values.get(OPTIONS[name].field, defaults().get(name)))
            for name in RUNTIME
        }
        return cls(**{**named, **texts})

    def reading(self) -> ReadSettings:
        """The settings for reading the records topics, starting where the job's parameter says."""
        default = self.start.default if isinstance(self.start, RuntimeText) else self.start
        start = runtime_start(str(default))
        return ReadSettings(self.kafka(), self.group, start, self.on_gap, self.max_batch)
