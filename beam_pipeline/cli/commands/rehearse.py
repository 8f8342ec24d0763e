"""`beam-serving models rehearse`: compares a version with the live model on recent records."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

from beam_pipeline.cli.argument_values import number_named, share_named, version_named
from beam_pipeline.cli.arguments import RECORD_TYPE, add_action, add_options
from beam_pipeline.cli.option_values import named_record_type, records_topics
from models.errors import OptionsError

if TYPE_CHECKING:
    from models.kafka.client import KafkaSettings
    from models.rehearsal.limits import Limits

ACTION = "rehearse"
OPTIONS = ("bootstrap-servers", "models-topic", "kafka-config", "records-topic", "allow-pickle", *RECORD_TYPE)


def add_rehearse(actions: Any) -> None:
    """Adds the action to those of `models`."""
    parser = add_action(
        actions,
        ACTION,
        "score recent records with a version and with the live model, and compare the answers",
        "Score recent records of the deployment with a version, which need not be live, and with the model that "
        "answers them now, and print how the answers differ. The exit status is 1 when the version cannot be loaded "
        "or exceeds a limit; standard error names the limit.",
    )
    parser.add_argument("version", metavar="NAME/VERSION", help="the version of the model")
    parser.add_argument(
        "--against", metavar="NAME/VERSION", help="the version to compare it with (default: the one that answers now)"
    )
    parser.add_argument("--last", default="10000", metavar="N", help="the number of records (default: 10000)")
    parser.add_argument("--batch", default="100", metavar="N", help="the number of records in one call (default: 100)")
    parser.add_argument(
        "--tolerance",
        default="0.01",
        metavar="X",
        help="two numbers agree if they differ by at most X plus X times the live model's number (default: 0.01)",
    )
    parser.add_argument(
        "--max-errors",
        default="1%",
        metavar="P",
        help="the largest share of records with an error, NaN or infinity (default: 1%%)",
    )
    parser.add_argument(
        "--min-agreement",
        default="95%",
        metavar="P",
        help="the smallest share of records on which both models agree (default: 95%%)",
    )
    parser.add_argument(
        "--max-shift",
        default="0.2",
        metavar="X",
        help="the largest shift of an output's distribution, as the population stability index (default: 0.2)",
    )
    parser.add_argument(
        "--max-slowdown",
        default="2",
        metavar="X",
        help="the largest ratio of the version's median call duration to the live model's (default: 2)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_options(parser, OPTIONS)


def check_rehearse_arguments(given: argparse.Namespace, values: dict[str, Any]) -> None:
    """Checks the arguments without importing slow libraries; raises OptionsError."""
    records_topics(values)
    version_named(given.version)
    if given.against is not None:
        version_named(given.against)
    for option in ("last", "batch"):
        _count_named(option, getattr(given, option))
    for option in ("max_errors", "min_agreement"):
        if share_named(getattr(given, option), option.replace("_", "-")) > 1:
            raise OptionsError(f"--{option.replace('_', '-')} {getattr(given, option)} is more than 100%")
    for option in ("tolerance", "max_shift", "max_slowdown"):
        number_named(option.replace("_", "-"), getattr(given, option))


def run_rehearse(given: argparse.Namespace, values: dict[str, Any], kafka: KafkaSettings) -> int:
    """Runs the action and returns the exit status."""
    from beam_pipeline.rehearsal.report import report_json, report_lines
    from beam_pipeline.rehearsal.run import RehearsalSettings, rehearse
    from models.artifacts.pickles import AllowedPickles
    from models.rehearsal.limits import broken_limits

    settings = RehearsalSettings(
        *version_named(given.version),
        None if given.against is None else version_named(given.against),
        _count_named("last", given.last),
        _count_named("batch", given.batch),
        number_named("tolerance", given.tolerance),
        AllowedPickles.parse(values.get("allow_pickle")),
    )
    record_types = {one.topic: named_record_type(values, one) for one in records_topics(values)}
    rehearsal = rehearse(kafka, values["models_topic"], record_types, settings)
    broken = list(broken_limits(rehearsal, _limits(given)))
    if given.json:
        print(json.dumps(report_json(rehearsal, broken)))
    else:
        print("\n".join(report_lines(rehearsal)))
    for sentence in broken:
        print(sentence, file=sys.stderr)
    return 1 if broken else 0


def _limits(given: argparse.Namespace) -> Limits:
    from models.rehearsal.limits import Limits

    return Limits(
        share_named(given.max_errors, "max-errors"),
        share_named(given.min_agreement, "min-agreement"),
        number_named("max-shift", given.max_shift),
        number_named("max-slowdown", given.max_slowdown),
    )


def _count_named(option: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 2**31):
        raise OptionsError(f"--{option} {text!r} is not a number of records, 1 or more")
    return int(text)
