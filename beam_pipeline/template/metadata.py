"""A template's metadata: what a console shows, and what Dataflow checks before it starts a job."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.cloud import dataflow_v1beta3 as dataflow

from beam_pipeline.template.parameters import FLEX, RUNTIME, config_parameter, defaults, parameter

_NAME = "Model serving with models as data"
_WHAT = (
    "Scores the records of a Kafka topic with models that arrive through another Kafka topic, and writes results, dead "
    "letters and status events to Kafka."
)


def flex_metadata() -> dataflow.TemplateMetadata:
    """Of the Flex template: every option of `run` is a parameter."""
    return _metadata(_WHAT, [*(parameter(name, {}) for name in FLEX), config_parameter()])


def classic_metadata(values: Mapping[str, Any]) -> dataflow.TemplateMetadata:
    """Of a classic template: what can wait is a parameter, what cannot is named with its value.

    Args:
      values: the options it is built with, by their attributes; of a parameter it becomes the default.
    """
    return _metadata(f"{_WHAT} {fixed_sentence(values)}", [parameter(name, values) for name in RUNTIME])


def fixed_sentence(values: Mapping[str, Any]) -> str:
    """What a classic template was built with and no job can change."""
    fixed = []
    for name in FLEX:
        value = values.get(name.replace("-", "_"), defaults().get(name))
        if name not in RUNTIME and value is not None:
            shown = ", ".join(f"{key}={one}" for key, one in value.items()) if isinstance(value, Mapping) else value
            fixed.append(f"{name} {shown}")
    return f"Fixed when it was built, and changed by building it anew: {'; '.join(fixed)}."


def _metadata(description: str, parameters: list[dataflow.ParameterMetadata]) -> dataflow.TemplateMetadata:
    return dataflow.TemplateMetadata(
        name=_NAME,
        description=description,
        parameters=parameters,
        streaming=True,
        supports_exactly_once=True,
        default_streaming_mode="EXACTLY_ONCE",
    )


def as_json(message: Any) -> str:
    """A message of the Dataflow API in the JSON that its files are written in."""
    text: str = type(message).to_json(
        message, use_integers_for_enums=False, always_print_fields_with_no_presence=False, sort_keys=True, indent=2
    )
    return text + "\n"
