"""`beam-serving models`: manages the versions and routes in the models topic."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from beam_pipeline.cli.argument_values import number_named
from beam_pipeline.cli.arguments import RECORD_TYPE, add_action, add_options, pairs
from beam_pipeline.cli.commands.apply import APPLY, add_apply, run_apply
from beam_pipeline.cli.commands.rehearse import ACTION, OPTIONS, add_rehearse, check_rehearse_arguments, run_rehearse
from beam_pipeline.cli.commands.routes import print_route, rollback_route, run_route_action
from beam_pipeline.cli.commands.sync import SYNC, add_sync_arguments, run_sync, sync_location
from beam_pipeline.cli.option_values import kafka_settings, optional_record_type, read_options, require
from beam_pipeline.cli.route_arguments import (
    ACTIONS,
    add_fence,
    add_route_actions,
    check_route_arguments,
    lead_of,
)
from beam_pipeline.logs import set_up_logs, without_start_lines
from models.errors import OptionsError
from models.schemas import BUNDLED_RECORDS
from models.scorers import model_types, prepare_engines

if TYPE_CHECKING:
    from beam_pipeline.publishing.drafts import Draft
    from models.kafka.client import KafkaSettings
    from models.model_topic.descriptor import ModelDescriptor
    from models.model_topic.golden import GoldenSamples
    from models.model_topic.publisher import ModelPublisher
    from models.records.record_type import Row

_OPTIONS = ("bootstrap-servers", "models-topic", "kafka-config")
_TOLERANCE = "0.0001"
_PUBLISH_OPTIONS = (*_OPTIONS, *RECORD_TYPE, "allow-pickle")
_OPTIONS_OF = {"publish": _PUBLISH_OPTIONS, SYNC: _PUBLISH_OPTIONS, APPLY: _PUBLISH_OPTIONS, ACTION: OPTIONS}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's own arguments."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    _add_publish(add_action(actions, "publish", "check a model and make it the live version"))
    listing = add_action(actions, "list", "list all versions and show which are live")
    add_options(listing, _OPTIONS)
    rollback = add_action(actions, "rollback", "restore the previous version or route")
    rollback.add_argument("name", metavar="NAME", help="the model's name")
    rollback.add_argument("--to", type=int, metavar="V", help="the version (default: the one before the live version)")
    add_fence(rollback)
    add_options(rollback, _OPTIONS)
    retire = add_action(actions, "retire", "stop scoring with a model; its versions are kept")
    retire.add_argument("name", metavar="NAME", help="the model's name")
    add_options(retire, _OPTIONS)
    add_rehearse(actions)
    _add_sync(add_action(actions, "sync", "publish the version that an alias of a model registry points to"))
    add_apply(actions, _PUBLISH_OPTIONS)
    add_route_actions(actions, _OPTIONS)


def _add_publish(parser: argparse.ArgumentParser) -> None:
    add_model_arguments(parser)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--path", metavar="P", help="a model on this machine: its file or folder, or a zip file of it")
    where.add_argument("--location", metavar="URI", help="where workers load the model, or reach its server")
    parser.add_argument("--dry-run", action="store_true", help="only check and describe the model; no broker is needed")
    parser.add_argument(
        "--no-promote", action="store_true", help="publish the version without making it live, for a canary or a shadow"
    )
    parser.add_argument(
        "--golden",
        metavar="FILE",
        help='a file with records and the outputs that the model must give for them, as lines of {"record": {...}, '
        '"outputs": {...}}; they are checked now, and by every worker that loads the version',
    )
    parser.add_argument(
        "--tolerance",
        metavar="X",
        help="the tolerance of --golden: an output may differ from its expected number by X plus X times it (default: "
        f"{_TOLERANCE})",
    )
    parser.add_argument(
        "--baseline",
        metavar="FILE",
        help="a file with records of the training data, as lines of JSON: sketches of their fields and of the outputs "
        "for them become the baseline of the version, for --drift-topic and --outliers (default: the first records "
        "that it answers are the baseline for drift)",
    )
    add_fence(parser)
    add_options(parser, _PUBLISH_OPTIONS)


def _add_sync(parser: argparse.ArgumentParser) -> None:
    add_sync_arguments(parser)
    add_model_arguments(parser, default_type="mlflow")
    add_options(parser, _PUBLISH_OPTIONS)


def add_model_arguments(parser: argparse.ArgumentParser, default_type: str | None = None) -> None:
    """Adds the arguments that describe a model, wherever the model is; without a default, the type must be given."""
    parser.add_argument("--name", required=True, help="the model's name")
    parser.add_argument(
        "--type",
        required=default_type is None,
        default=default_type,
        choices=model_types(),
        help="the kind of scorer that runs it" + (f" (default: {default_type})" if default_type else ""),
    )
    parser.add_argument("--inline", action="store_true", help="send the model itself through the topic")
    parser.add_argument(
        "--data-type", metavar="D", help="the data type of the records it scores (default: the model's name)"
    )
    parser.add_argument(
        "--signature", metavar="S", help="the signature to call (default: serving_default, or the only one)"
    )
    parser.add_argument(
        "--input",
        action="append",
        default=[],
        metavar="NAME=FIELD[,FIELD...]",
        help="a model input and the record fields that fill it; may be given repeatedly",
    )
    parser.add_argument(
        "--output",
        action="append",
        default=[],
        metavar="NAME=OUTPUT",
        help="an output of the result and the model output it comes from; may be given repeatedly",
    )
    parser.add_argument(
        "--option", action="append", default=[], metavar="K=V", help="a scorer option; may be given repeatedly"
    )
    parser.add_argument("--description", metavar="TEXT", help="a description for people")


def run(given: argparse.Namespace, rest: Sequence[str]) -> int:
    """Runs the action; see `command_line.Command`."""
    set_up_logs(quiet=True)
    values = read_options(given, _OPTIONS_OF.get(given.action, _OPTIONS))
    dry_run = given.action == "publish" and given.dry_run
    if not dry_run:
        require(values, ["models-topic"])
    if given.action == ACTION:
        check_rehearse_arguments(given, values)
        return run_rehearse(given, values, kafka_settings(values))
    if given.action == "publish":
        check_model_arguments(given)
        lead_of(given)
        _check_file_arguments(given, values)
        if given.no_promote and given.fence is not None:
            raise OptionsError(
                "--fence and --no-promote exclude each other: a version that is not promoted answers no records"
            )
    if given.action == SYNC:
        check_model_arguments(given)
        return run_sync(given, values, draft_from(given, None, sync_location(given)))
    if given.action == APPLY:
        return run_apply(given, values)
    if given.action in ACTIONS:
        check_route_arguments(given)
        return run_route_action(given, kafka_settings(values), values["models_topic"])
    if dry_run:
        _checked(given, values)
        print(f"{given.name} is not published (--dry-run)")
        return 0
    kafka = kafka_settings(values)
    from beam_pipeline.cli.tables import print_table
    from beam_pipeline.cli.version_table import version_table
    from models.model_topic.publisher import ModelPublisher

    topic = ModelPublisher(kafka, values["models_topic"])
    if given.action == "publish":
        return _publish(kafka, topic, given, values)
    if given.action == "list":
        print_table(version_table(topic.versions()))
        return 0
    if given.action == "rollback":
        if rollback_route(given, kafka, values["models_topic"]):
            return 0
        if lead_of(given) is not None:
            raise OptionsError(f"--fence needs a route, and {given.name} has none: use 'beam-serving models promote'")
        pointer = topic.rollback(given.name, given.to)
        print(f"{given.name}: version {pointer.live_version} is live")
        return 0
    topic.retire(given.name)
    print(f"{given.name} is retired; 'beam-serving models rollback {given.name}' brings it back")
    return 0


def _publish(kafka: KafkaSettings, topic: ModelPublisher, given: argparse.Namespace, values: dict[str, Any]) -> int:
    from models.model_topic.route_changes import promoted
    from models.model_topic.route_publisher import RoutePublisher

    descriptor = _checked(given, values)
    lead = lead_of(given)
    if given.no_promote or lead is not None:
        published = topic.publish(descriptor, live=False)
        print(f"{published.model_name}: version {published.model_version} is published but not live")
    else:
        published = topic.publish(descriptor)
        print(f"{published.model_name}: version {published.model_version} is live, for {published.data_type!r} records")
    name, version = published.model_name, published.model_version
    if lead is not None:
        routes = RoutePublisher(kafka, values["models_topic"])
        print_route(routes.change(published.data_type, lambda before: promoted(before, name, version), lead))
        topic.rollback(name, version)
    elif published.data_type in topic.read().routes and not given.no_promote:
        print(f"the route of {published.data_type!r} decides what it scores; see 'beam-serving models promote'")
    return 0


def _checked(given: argparse.Namespace, values: dict[str, Any]) -> ModelDescriptor:
    """The descriptor to publish; the model is loaded, and described on stdout."""
    from beam_pipeline.publishing.drafts import check_draft, draft_descriptor
    from models.artifacts.pickles import AllowedPickles

    draft = replace(
        draft_from(given, given.path, given.location), golden=_golden_from(given), baseline=_baseline_from(given)
    )
    record_type = optional_record_type(values)
    descriptor = draft_descriptor(draft)
    with without_start_lines():
        prepare_engines([draft.model_type])
    inspection = check_draft(draft, descriptor, record_type, AllowedPickles.parse(values.get("allow_pickle")))
    for line in inspection.lines():
        print(line)
    return replace(descriptor, baseline=inspection.baseline)


def _check_file_arguments(given: argparse.Namespace, values: dict[str, Any]) -> None:
    if given.golden is None and given.tolerance is not None:
        raise OptionsError("--tolerance needs --golden, whose outputs it applies to")
    known = "record_schema" in values or (given.data_type or given.name) in BUNDLED_RECORDS
    if given.golden is not None and not known:
        raise OptionsError("--golden needs --record-schema, the schema of the records in the file")
    if given.baseline is not None and not known:
        raise OptionsError("--baseline needs --record-schema, the schema of the records in the file")
    number_named("tolerance", given.tolerance or _TOLERANCE)


def _golden_from(given: argparse.Namespace) -> GoldenSamples | None:
    from beam_pipeline.publishing.golden_file import read_golden

    if given.golden is None:
        return None
    return read_golden(given.golden, number_named("tolerance", given.tolerance or _TOLERANCE))


def _baseline_from(given: argparse.Namespace) -> tuple[Row, ...] | None:
    from beam_pipeline.publishing.baseline_file import read_baseline

    return None if given.baseline is None else read_baseline(given.baseline)


def check_model_arguments(given: argparse.Namespace) -> None:
    """Checks the arguments of `add_model_arguments` without importing slow libraries; raises OptionsError."""
    if given.inline and getattr(given, "location", None) is not None:
        raise OptionsError("--inline needs --path: it sends a model from this machine through the topic")
    _inputs(given.input)
    pairs("output", given.output)
    pairs("option", given.option)


def draft_from(given: argparse.Namespace, path: str | None, location: str | None = None) -> Draft:
    """The draft that the arguments of `add_model_arguments` describe; raises OptionsError when one is malformed."""
    from beam_pipeline.publishing.drafts import Draft

    return Draft(
        name=given.name,
        model_type=given.type,
        path=path,
        location=location,
        inline=given.inline,
        data_type=given.data_type,
        signature=given.signature,
        inputs=_inputs(given.input),
        outputs=pairs("output", given.output),
        options=pairs("option", given.option),
        description=given.description,
    )


def _inputs(given: list[str]) -> dict[str, tuple[str, ...]]:
    inputs = {}
    for one in given:
        name, equals, fields = one.partition("=")
        if not name or not equals or not all(fields.split(",")):
            raise OptionsError(f"--input {one!r} is not NAME=FIELD[,FIELD...]")
        inputs[name] = tuple(fields.split(","))
    return inputs
