"""A template's parameters, made of the options of `run`: the two cannot drift apart."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields
from typing import Any

from google.cloud import dataflow_v1beta3 as dataflow

from beam_pipeline.cli.arguments import OPTIONS, RUN, Option
from beam_pipeline.options import ServingOptions
from models.errors import OptionsError

# The values of an option that takes K=V again and again, in the one value that a parameter has.
SEPARATOR = ";"

# A template is for Dataflow; the runner is no choice.
FIXED = ("runner",)
FLEX = tuple(name for name in RUN if name not in FIXED)

# What reaches nothing but settings in the workers: it can wait until a job starts.
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

# Beam has an option of that name for another runner, with a default that would go before ours.
_RENAMED = {"bootstrap-servers": "kafka_bootstrap_servers"}

_TOPIC = r"[a-zA-Z0-9._-]{1,249}"
# What the table of options leaves open, so that a console refuses it before a launcher starts.
_PATTERNS = {
    "bootstrap-servers": r"[^\s,:]+:[0-9]{1,5}(,[^\s,:]+:[0-9]{1,5})*",
    "records-topic": _TOPIC,
    "models-topic": _TOPIC,
    "results-topic": _TOPIC,
    "dead-letter-topic": _TOPIC,
    "status-topic": _TOPIC,
    "engines": r"[a-z0-9-]+(,[a-z0-9-]+)*",
    "start": r"earliest|latest|committed|[0-9]{1,18}|[0-9]{4}-[0-9]{2}-[0-9]{2}([T ].+)?",
}

Type = dataflow.ParameterType


def defaults() -> dict[str, Any]:
    """The default of each option that has one, by its name."""
    of_fields = {one.name: one.default for one in fields(ServingOptions)}
    named = {name: of_fields[OPTIONS[name].field] for name in RUN}
    return {name: default for name, default in named.items() if default is not MISSING and default is not None}


def is_required(name: str) -> bool:
    """Whether `run` cannot do without the option."""
    (field,) = (one for one in fields(ServingOptions) if one.name == OPTIONS[name].field)
    return field.default is MISSING and field.default_factory is MISSING


def parameter_name(name: str) -> str:
    """What the parameter of an option is called; the options of Beam are called otherwise.

    >>> parameter_name("records-topic")
    'records_topic'
    """
    return _RENAMED.get(name, OPTIONS[name].field)


def parameter(name: str, given: Mapping[str, Any]) -> dataflow.ParameterMetadata:
    """What a template's metadata says of an option.

    Args:
      name: of the option.
      given: what takes the place of its default, by the option's attribute.
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
    """What a template's metadata says of --config."""
    return dataflow.ParameterMetadata(
        name=CONFIG,
        label="Configuration file",
        help_text="A YAML file in gs:// that holds options by their names; a parameter goes before it.",
        is_optional=True,
        regexes=[r"^gs://[^\s]+$"],
        param_type=Type.GCS_READ_FILE,
    )


def pattern(option: Option) -> str:
    """What a value looks like, as a regular expression."""
    if option.pairs:
        pair = f"[^={SEPARATOR}]+=[^{SEPARATOR}]*"
        return f"{pair}({SEPARATOR}{pair})*"
    if option.choices:
        return "|".join(map(re.escape, option.choices))
    if option.number is not None:
        return "0*[1-9][0-9]*" if option.number > 0 else "[0-9]+"
    return _PATTERNS.get(option.name, r"[^\r\n]+")


def option_words(parameters: Iterable[tuple[str, str]]) -> tuple[list[str], list[str]]:
    """A template's parameters, NAME and VALUE, as words for `run`; and those that are none of its options.

    Raises:
      OptionsError: for a parameter whose value is no list of K=V although it must be.
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
            f"parameter {parameter_name(option.name)}: it takes K=V, several with {SEPARATOR!r} between them"
        )
    return value.split(SEPARATOR)


def _sentence(option: Option) -> str:
    text = option.help[0].upper() + option.help[1:]
    return f"{text}; several with {SEPARATOR!r} between them." if option.pairs else f"{text}."


def _type(option: Option) -> int:
    if option.choices:
        return Type.ENUM
    return Type.NUMBER if option.number is not None else Type.TEXT
