"""A template's parameters, derived from the options of `run` so that the two cannot drift apart."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields
from typing import Any

from google.cloud import dataflow_v1beta3 as dataflow

from beam_pipeline.cli.arguments import OPTIONS, RUN, Option, as_sentence
from beam_pipeline.options import ServingOptions
from models.errors import OptionsError

# Separates the K=V pairs of an option that may be repeated; a parameter has a single value.
SEPARATOR = ";"

# A template is for Dataflow, so its runner is fixed.
FIXED = ("runner",)
FLEX = tuple(name for name in RUN if name not in FIXED)

# The options that only affect settings in the workers, and not the graph. They may be set when a job starts.
RUNTIME = (
    "bootstrap-servers",
    "records-topic",
    "models-topic",
    "results-topic",
    "dead-letter-topic",
    "status-topic",
    "group",
    "start",
)

CONFIG = "config"

# Beam defines an option of that name for another runner, with a default that would override our value.
_RENAMED = {"bootstrap-servers": "kafka_bootstrap_servers"}

_TOPIC = r"[a-zA-Z0-9._-]{1,249}"
# Patterns of options that the table does not restrict, so that the console refuses a wrong value before a launcher
# starts.
_PATTERNS = {
    "bootstrap-servers": r"[^\s,:]+:[0-9]{1,5}(,[^\s,:]+:[0-9]{1,5})*",
    "records-topic": _TOPIC,
    "models-topic": _TOPIC,
    "results-topic": _TOPIC,
    "dead-letter-topic": _TOPIC,
    "status-topic": _TOPIC,
    "shadow-topic": _TOPIC,
    "feedback-topic": _TOPIC,
    "payload-topic": _TOPIC,
    "explain-topic": _TOPIC,
    "drift-topic": _TOPIC,
    "engines": r"[a-z0-9-]+(,[a-z0-9-]+)*",
    "start": r"earliest|latest|committed|[0-9]{1,18}|[0-9]{4}-[0-9]{2}-[0-9]{2}([T ].+)?",
}

Type = dataflow.ParameterType


def defaults() -> dict[str, Any]:
    """The defaults of the options that have one, by option name."""
    of_fields = {one.name: one.default for one in fields(ServingOptions)}
    named = {name: of_fields[OPTIONS[name].field] for name in RUN}
    return {name: default for name, default in named.items() if default is not MISSING and default is not None}


def is_required(name: str) -> bool:
    """Whether `run` requires the option."""
    (field,) = (one for one in fields(ServingOptions) if one.name == OPTIONS[name].field)
    return field.default is MISSING and field.default_factory is MISSING


def parameter_name(name: str) -> str:
    """The name of the parameter of an option, which must not be the name of a Beam option.

    >>> parameter_name("records-topic")
    'records_topic'
    """
    return _RENAMED.get(name, OPTIONS[name].field)


def parameter(name: str, given: Mapping[str, Any]) -> dataflow.ParameterMetadata:
    """The entry for an option in a template's metadata.

    Args:
      name: the name of the option.
      given: values that replace the defaults of options, by attribute.
    """
    option = OPTIONS[name]
    default = given.get(option.field, defaults().get(name))
    made = dataflow.ParameterMetadata(
        name=parameter_name(name),
        label=name.replace("-", " ").capitalize(),
        help_text=_sentence(option),
        is_optional=default is not None or not is_required(name),
        regexes=[f"^({pattern(option)})$"],
        param_type=_type(option),
    )
    if default is not None and not option.pairs:
        made.default_value = str(default)
    for choice in option.choices:
        made.enum_options.append(dataflow.ParameterMetadataEnumOption(value=choice, label=choice))
    return made


def config_parameter() -> dataflow.ParameterMetadata:
    """The entry for --config in a template's metadata."""
    return dataflow.ParameterMetadata(
        name=CONFIG,
        label="Configuration file",
        help_text="A YAML file in gs:// with options, by name; parameters take precedence over it.",
        is_optional=True,
        regexes=[r"^gs://[^\s]+$"],
        param_type=Type.GCS_READ_FILE,
    )


def pattern(option: Option) -> str:
    """The regular expression that a value of the option must match."""
    if option.pairs:
        pair = f"[^={SEPARATOR}]+=[^{SEPARATOR}]*"
        return f"{pair}({SEPARATOR}{pair})*"
    if option.choices:
        return "|".join(map(re.escape, option.choices))
    if option.number is not None:
        return "0*[1-9][0-9]*" if option.number > 0 else "[0-9]+"
    if option.share:
        return r"0|1|0?\.[0-9]+|1\.0+"
    return _PATTERNS.get(option.name, r"[^\r\n]+")


def option_words(parameters: Iterable[tuple[str, str]]) -> tuple[list[str], list[str]]:
    """Translates a template's parameters, pairs of name and value, into arguments of `run`.

    Returns:
      The arguments for options of `run`, and the arguments for all other parameters.

    Raises:
      OptionsError: the value of a K=V parameter is not a list of K=V.
    """
    by_name = {parameter_name(name): OPTIONS[name] for name in FLEX}
    words: list[str] = []
    others: list[str] = []
    for name, value in parameters:
        option = by_name.get(name)
        if option is None:
            others.append(f"--{name}={value}")
        elif option.pairs:
            words += [f"--{option.name}={pair}" for pair in _split(option, value)]
        else:
            words.append(f"--{option.name}={value}")
    return words, others


def _split(option: Option, value: str) -> list[str]:
    if not re.fullmatch(pattern(option), value):
        raise OptionsError(
            f"parameter {parameter_name(option.name)} takes K=V; separate several pairs with {SEPARATOR!r}"
        )
    return value.split(SEPARATOR)


def _sentence(option: Option) -> str:
    text = as_sentence(option.help)
    return f"{text} Separate several pairs with {SEPARATOR!r}." if option.pairs else text


def _type(option: Option) -> int:
    if option.choices:
        return Type.ENUM
    return Type.NUMBER if option.number is not None or option.share else Type.TEXT
