"""A template's metadata, which the console shows and Dataflow checks before it starts a job."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.cloud import dataflow_v1beta3 as dataflow

from beam_pipeline.template.parameters import FLEX, RUNTIME, config_parameter, defaults, parameter

_NAME = "Model serving with models as data"
_DESCRIPTION = (
    "Scores the records of a Kafka topic with models that arrive through another Kafka topic, and writes results, dead "
    "letters and status events to Kafka."
)


def flex_metadata() -> dataflow.TemplateMetadata:
    """The metadata of the Flex template: every option of `run` is a parameter."""
    return _metadata(_DESCRIPTION, [*(parameter(name, {}) for name in FLEX), config_parameter()])


def classic_metadata(values: Mapping[str, Any]) -> dataflow.TemplateMetadata:
    """The metadata of a classic template: options that are fixed when it is built are listed in its description.

    Args:
      values: the options that it is built with, by attribute; the value of a parameter becomes its default.
    """
    return _metadata(f"{_DESCRIPTION} {fixed_sentence(values)}", [parameter(name, values) for name in RUNTIME])


def fixed_sentence(values: Mapping[str, Any]) -> str:
    """A sentence that lists the options that are fixed in a classic template."""
    fixed = []
    for name in FLEX:
        value = values.get(name.replace("-", "_"), defaults().get(name))
        if name not in RUNTIME and value is not None:
            shown = ", ".join(f"{key}={one}" for key, one in value.items()) if isinstance(value, Mapping) else value
            fixed.append(f"{name} {shown}")
    return f"These options are fixed; rebuild the template to change them: {'; '.join(fixed)}."


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
    """A message of the Dataflow API in the JSON format of template files."""
    text: str = type(message).to_json(
        message, use_integers_for_enums=False, always_print_fields_with_no_presence=False, sort_keys=True, indent=2
    )
    return text + "\n"
