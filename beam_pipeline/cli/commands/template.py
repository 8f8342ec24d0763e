"""`beam-serving template build|metadata`: stages a Dataflow template, or prints the metadata of its parameters."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from beam_pipeline.cli.arguments import OPTIONS, RUN, add_action, add_options
from beam_pipeline.cli.commands.run import check_options
from beam_pipeline.cli.option_values import check_dashed_names, read_options, read_runner_options, require
from beam_pipeline.logs import set_up_logs
from models.errors import OptionsError
from models.secret_references import check_secrets_are_references

KINDS = ("classic", "flex")
_BUILT_WITH = tuple(name for name in RUN if name != "runner")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's own arguments."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    build = add_action(actions, "build", "stage a template")
    _add_kind(build)
    build.add_argument(
        "--location", metavar="URI", required=True, help="where to stage the template, gs://BUCKET/OBJECT"
    )
    build.add_argument(
        "--image", metavar="IMAGE", help="the container image of the launcher (flex only; see dataflow/Dockerfile)"
    )
    build.add_argument("--verbose", action="store_true", help="also log the messages of Beam")
    add_options(build, _BUILT_WITH)
    build.epilog = (
        "In a classic template, the options of run are fixed or become the defaults of its parameters; a Flex template "
        "takes them when a job is started. All other options go to Beam, which needs --project, --region and "
        "--temp_location."
    )
    metadata = add_action(actions, "metadata", "print the metadata of a template")
    _add_kind(metadata)
    add_options(metadata, _BUILT_WITH)


def _add_kind(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--kind", choices=KINDS, required=True, help="classic: a staged graph; flex: an image that builds the graph"
    )


def run(given: argparse.Namespace, rest: Sequence[str]) -> int:
    """Runs the action; see `command_line.Command`."""
    set_up_logs(getattr(given, "verbose", False))
    values = read_options(given, _BUILT_WITH)
    if given.action == "metadata":
        _refuse(rest)
        return _print_metadata(given.kind, values)
    arguments = [*read_runner_options(given), *rest]
    check_dashed_names(arguments)
    if given.kind == "classic":
        return _build_classic(given, values, arguments)
    return _build_flex(given, arguments)


def _build_classic(given: argparse.Namespace, values: dict[str, Any], arguments: list[str]) -> int:
    if given.image:
        raise OptionsError(
            "--image is for --kind flex only; use --sdk_container_image for a classic template's workers"
        )
    require(values, ["record-schema"])
    # Importing Beam takes seconds, so the checks above do without it and report mistakes at once.
    from apache_beam.options.pipeline_options import PipelineOptions

    from beam_pipeline.cli.beam_arguments import check_beam_arguments
    from beam_pipeline.template.classic import build_classic, classic_options, without_parameters
    from beam_pipeline.template.start_commands import classic_command

    check_beam_arguments(arguments)
    options = classic_options(values, arguments)
    check_options(without_parameters(options))
    options.reading()
    check_secrets_are_references(options.kafka_config)
    check_secrets_are_references(options.schema_registry_config, option="schema-registry-config")
    build_classic(options, values, given.location)
    print(f"{given.location} is staged. To start a job from it:")
    print(classic_command(given.location, PipelineOptions(arguments)))
    return 0


def _build_flex(given: argparse.Namespace, arguments: list[str]) -> int:
    set_here = [f"--{name}" for name in _BUILT_WITH if getattr(given, OPTIONS[name].field) is not None]
    if set_here:
        raise OptionsError(f"{', '.join(set_here)}: a Flex template takes these options when a job is started")
    if not given.image:
        raise OptionsError("--kind flex needs --image, the container image of the launcher (see dataflow/Dockerfile)")
    from apache_beam.options.pipeline_options import PipelineOptions

    from beam_pipeline.cli.beam_arguments import check_beam_arguments
    from beam_pipeline.template.flex import build_flex
    from beam_pipeline.template.start_commands import flex_command

    check_beam_arguments(arguments)
    build_flex(given.image, arguments, given.location)
    print(f"{given.location} is written. To start a job from it:")
    print(flex_command(given.location, PipelineOptions(arguments)))
    return 0


def _print_metadata(kind: str, values: dict[str, Any]) -> int:
    from beam_pipeline.template.metadata import as_json, classic_metadata, flex_metadata

    check_secrets_are_references(values.get("kafka_config", {}))
    check_secrets_are_references(values.get("schema_registry_config", {}), option="schema-registry-config")
    print(as_json(classic_metadata(values) if kind == "classic" else flex_metadata()), end="")
    return 0


def _refuse(rest: Sequence[str]) -> None:
    if rest:
        raise OptionsError(f"unknown arguments: {' '.join(rest)}; see beam-serving template metadata --help")
