"""Values that are known only when a job is started from a classic template.

A graph is pickled when the template is built, and unpickled in the workers of each job. Such a value is pickled as the
name of a parameter, and unpickled as what the job was given: no transform needs to know of it.
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
    """The runtime parameters, as Beam's options: so they reach the workers."""

    @classmethod
    def _add_argparse_args(cls, parser: Any) -> None:
        for name in RUNTIME:
            parser.add_value_provider_argument(f"--{parameter_name(name)}", type=str)


class RuntimeText(str):
    """A parameter's value, a text. While the template is built it reads {NAME}.

    Args:
      name: of the option.
      default: when the job is given none; None: it must be given, or, if `run` can do without it, there is none.
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
    """The start position, from a parameter. While the template is built it is the default.

    Attributes:
      default: when the job is given none.
    """

    default: str = "committed"

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return start_of, (self.default,)


def text_of(name: str, default: str | None) -> str | None:
    """The parameter's value in a worker; elsewhere what stands for it.

    Raises:
      OptionsError: in a worker whose job was not given a parameter that must be.
    """
    if RuntimeValueProvider.runtime_options is None:
        return RuntimeText(name, default)
    value: str | None = RuntimeValueProvider.get_value(parameter_name(name), str, default)
    if value is None and is_required(name):
        raise OptionsError(f"the job was started without the template's parameter {parameter_name(name)!r}")
    return value


def start_of(default: str) -> StartAt:
    """The start position in a worker; elsewhere what stands for it; raises OptionsError when it cannot be read."""
    if RuntimeValueProvider.runtime_options is None:
        return runtime_start(default)
    return StartAt.parse(RuntimeValueProvider.get_value(parameter_name("start"), str, default))


def runtime_start(default: str) -> RuntimeStart:
    """The start position as a parameter; raises OptionsError when its default cannot be read."""
    parsed = StartAt.parse(default)
    return RuntimeStart(parsed.kind, parsed.timestamp, default)


@dataclass(frozen=True)
class TemplateOptions(ServingOptions):
    """The options of a classic template: those of `RUNTIME` are parameters."""

    @classmethod
    def of(cls, options: ServingOptions, values: Mapping[str, Any]) -> TemplateOptions:
        """The options, with parameters in place of what a job is given.

        Args:
          options: checked.
          values: what was given, by attribute: the defaults of the parameters.
        """
        named = {one.name: getattr(options, one.name) for one in fields(ServingOptions)}
        texts = {
            OPTIONS[name].field: RuntimeText(name, values.get(OPTIONS[name].field, defaults().get(name)))
            for name in RUNTIME
        }
        return cls(**{**named, **texts})

    def reading(self) -> ReadSettings:
        """How the records topic is read, from where the job is told."""
        default = self.start.default if isinstance(self.start, RuntimeText) else self.start
        start = runtime_start(str(default))
        return ReadSettings(self.kafka(), self.group, start, self.on_gap, self.max_batch)
