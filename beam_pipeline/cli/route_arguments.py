"""The arguments of the actions of `beam-serving models` on routes."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from beam_pipeline.cli.argument_values import number_named, seconds_named, share_named, version_named
from beam_pipeline.cli.arguments import add_action, add_options
from models.errors import DescriptorError, OptionsError

if TYPE_CHECKING:
    from models.model_topic.guardrails import Guardrails

ACTIONS = ("promote", "canary", "shadow", "withdraw", "history")


def add_route_actions(actions: Any, options: Sequence[str]) -> None:
    """Adds the actions to those of `models`."""
    promote = add_action(actions, "promote", "let a version answer all records")
    canary = add_action(actions, "canary", "let a version answer a share of the records")
    shadow = add_action(actions, "shadow", "let a version score records too; its results go to the shadow topic")
    for action in (promote, canary, shadow):
        action.add_argument("version", metavar="NAME/VERSION", help="the version of the model")
        action.add_argument(
            "--data-type", metavar="D", help="the data type of the records (default: that of the version)"
        )
    canary.add_argument("--share", metavar="P", help="the share of records (default: the first of --steps, or 10%%)")
    shadow.add_argument("--share", metavar="P", help="the share of records (default: 100%%)")
    _add_guardrails(canary)
    withdraw = add_action(actions, "withdraw", "remove an arm from a route, or delete the route")
    withdraw.add_argument("data_type", metavar="DATA_TYPE", help="the data type of the records")
    withdraw.add_argument("--arm", metavar="NAME", help="the arm (default: delete the route, so live models answer)")
    for action in (promote, canary, shadow, withdraw):
        add_fence(action)
        add_options(action, options)
    history = add_action(actions, "history", "list published versions and changes of routes")
    history.add_argument("name", nargs="?", metavar="NAME", help="a model or data type (default: all)")
    add_options(history, options)


def _add_guardrails(parser: argparse.ArgumentParser) -> None:
    limits = parser.add_argument_group(
        "guardrails", "With --steps, a guard gives the canary more records step by step, or removes it."
    )
    limits.add_argument("--steps", metavar="P,P...", help="its successive shares, such as 1%%,10%%,50%%,100%%")
    limits.add_argument(
        "--min-records", type=int, metavar="N", help="records it answers before its next step (default: 1000)"
    )
    limits.add_argument("--max-errors", metavar="P", help="the largest share of errors (default: 1%%)")
    limits.add_argument(
        "--min-agreement",
        metavar="P",
        help="the smallest share of records on which it agrees with the live arm (default: 90%%)",
    )
    limits.add_argument(
        "--max-slowdown",
        type=float,
        metavar="X",
        help="the largest ratio of its duration to the live arm's (default: 3)",
    )
    limits.add_argument(
        "--min-accuracy",
        metavar="P",
        help="the smallest share of labels in the feedback topic that its answers match (default: labels are ignored)",
    )
    limits.add_argument(
        "--max-mean-error",
        metavar="X",
        help="the largest mean absolute error against the labels (default: labels are ignored)",
    )
    limits.add_argument(
        "--min-labels", type=int, metavar="N", help="labels it needs before its next step (default: 100)"
    )


def guardrails_of(given: argparse.Namespace) -> Guardrails | None:
    """The guardrails that the arguments of `canary` describe; raises OptionsError when they contradict each other."""
    from models.model_topic.guardrails import Guardrails

    shares = {name: getattr(given, name) for name in ("max_errors", "min_agreement", "min_accuracy")}
    limits: dict[str, Any] = {
        name: share_named(text, name.replace("_", "-")) for name, text in shares.items() if text is not None
    }
    numbers = {name: getattr(given, name) for name in ("min_records", "max_slowdown", "min_labels")}
    limits |= {name: number for name, number in numbers.items() if number is not None}
    if given.max_mean_error is not None:
        limits["max_mean_error"] = number_named("max-mean-error", given.max_mean_error)
    if given.steps is None:
        if limits:
            raise OptionsError(
                f"--{next(iter(limits)).replace('_', '-')} needs --steps, the successive shares of the canary"
            )
        return None
    steps = tuple(share_named(text, "steps") for text in given.steps.split(","))
    try:
        return Guardrails(steps, **limits)
    except DescriptorError as error:
        raise OptionsError(f"--steps {given.steps!r}: {error}") from error


def add_fence(parser: argparse.ArgumentParser) -> None:
    """Adds --fence, with which all workers switch at the same record."""
    parser.add_argument(
        "--fence",
        metavar="2s",
        help="switch at the same record on every worker: the first one this far in the future (at least 1s; "
        "default: each worker switches as soon as it has loaded the models)",
    )


def check_route_arguments(given: argparse.Namespace) -> None:
    """Checks the arguments of an action without importing slow libraries; raises OptionsError."""
    lead_of(given)
    if given.action in ("promote", "canary", "shadow"):
        version_named(given.version)
    if given.action in ("canary", "shadow"):
        share_of(given)
    if given.action == "canary":
        guardrails_of(given)


def lead_of(given: argparse.Namespace) -> float | None:
    """The seconds of --fence; None without the option. Raises OptionsError when it is malformed or too short."""
    text = getattr(given, "fence", None)
    return None if text is None else seconds_named("fence", text)


def share_of(given: argparse.Namespace) -> float:
    """The share of records that `canary` or `shadow` gives; raises OptionsError when it is malformed."""
    if given.share is not None:
        return share_named(given.share)
    if given.action == "shadow":
        return 1.0
    return 0.1 if given.steps is None else share_named(given.steps.split(",")[0], "steps")
