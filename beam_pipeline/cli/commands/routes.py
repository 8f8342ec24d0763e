"""The actions of `beam-serving models` that change routes: promote, canary, shadow, withdraw, apply, history."""

from __future__ import annotations

import argparse
import datetime
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from beam_pipeline.cli.arguments import add_action, add_options
from models.errors import DescriptorError, OptionsError

if TYPE_CHECKING:
    from rich.table import Table

    from models.kafka.client import KafkaSettings
    from models.model_topic.guardrails import Guardrails
    from models.model_topic.history import HistoryEntry
    from models.model_topic.route import Generation, ModelRoute

ACTIONS = ("promote", "canary", "shadow", "withdraw", "apply", "history")

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "": 1.0}


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
    apply = add_action(actions, "apply", "publish the routes that a file declares")
    apply.add_argument("--file", "-f", required=True, metavar="FILE", help="a YAML file of routes")
    apply.add_argument("--dry-run", action="store_true", help="only print what would change")
    for action in (promote, canary, shadow, withdraw, apply):
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


def seconds_named(option: str, text: str) -> float:
    """A duration such as 500ms, 2s or 1m, in seconds; raises OptionsError when the text is not one.

    >>> seconds_named("fence", "1.5s"), seconds_named("fence", "2m")
    (1.5, 120.0)
    """
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|)", text, re.ASCII)
    if found is None:
        raise OptionsError(f"--{option} {text!r} is not a duration such as 500ms, 2s or 1m")
    return float(found[1]) * _UNITS[found[2]]


def number_named(option: str, text: str) -> float:
    """A number of at least 0, such as 0.2 or 1e-6; raises OptionsError when the text is not one.

    >>> number_named("tolerance", "1e-3")
    0.001
    """
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)?(e[-+]?[0-9]{1,2})?", text, re.ASCII):
        raise OptionsError(f"--{option} {text!r} is not a number of at least 0, such as 0.2 or 1e-6")
    return float(text)


def share_of(given: argparse.Namespace) -> float:
    """The share of records that `canary` or `shadow` gives; raises OptionsError when it is malformed."""
    if given.share is not None:
        return share_named(given.share)
    if given.action == "shadow":
        return 1.0
    return 0.1 if given.steps is None else share_named(given.steps.split(",")[0], "steps")


def share_named(text: str, option: str = "share") -> float:
    """A share such as 10% or 0.1, as a number; raises OptionsError when the text is not one.

    >>> share_named("2.5%"), share_named("0.5")
    (0.025, 0.5)
    """
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)(%?)", text, re.ASCII)
    if found is None:
        raise OptionsError(f"--{option} {text!r} is not a share such as 10% or 0.1")
    return float(found[1]) / (100 if found[2] else 1)


def version_named(text: str) -> tuple[str, int]:
    """The name and number in NAME/VERSION; raises OptionsError when the text is malformed.

    >>> version_named("wine/3")
    ('wine', 3)
    """
    name, _, number = text.rpartition("/")
    if not name or not (number.isascii() and number.isdigit()) or int(number) < 1:
        raise OptionsError(f"{text!r} is not NAME/VERSION, for example wine/3")
    return name, int(number)


def run_route_action(given: argparse.Namespace, kafka: KafkaSettings, topic: str) -> int:
    """Runs the action and returns the exit status."""
    from models.model_topic.route_publisher import RoutePublisher

    if given.action == "history":
        return _history(given, kafka, topic)
    publisher = RoutePublisher(kafka, topic)
    if given.action == "apply":
        return _apply(given, publisher)
    if given.action == "withdraw":
        return _withdraw(given, publisher)
    name, number = version_named(given.version)
    data_type = given.data_type or data_type_of(kafka, topic, name, number)
    route = publisher.change(data_type, _change(given, name, number, data_type), lead_of(given))
    print_route(route)
    return 0


def data_type_of(kafka: KafkaSettings, topic: str, name: str, number: int) -> str:
    """The data type of a version; raises PublishError when the topic does not contain it."""
    from models.errors import PublishError
    from models.model_topic.transactions import TopicTransactions

    versions = TopicTransactions(kafka, topic).read().versions
    if (name, number) not in versions:
        existing = ", ".join(f"{one}/{version}" for one, version in sorted(versions)) or "none"
        raise PublishError(f"version {name}/{number} is not in topic {topic!r}; existing versions: {existing}")
    return versions[name, number].descriptor.data_type


def rollback_route(given: argparse.Namespace, kafka: KafkaSettings, topic: str) -> bool:
    """Restores the state of a model's routes before the newest one; False if the model has no route."""
    from models.model_topic.route_changes import promoted, restored
    from models.model_topic.route_publisher import RoutePublisher
    from models.model_topic.transactions import TopicTransactions

    catalog = TopicTransactions(kafka, topic).read()
    data_types = {one.descriptor.data_type for (name, _), one in catalog.versions.items() if name == given.name}
    routed = sorted(data_types & catalog.routes.keys())
    if not routed:
        return False
    publisher = RoutePublisher(kafka, topic)
    for data_type in routed:
        route = catalog.routes[data_type].route
        before = restored(route) if given.to is None else promoted(route.newest, given.name, given.to)
        print_route(publisher.change(data_type, _always(before), lead_of(given)))
    return True


def _always(generation: Generation) -> Callable[[Generation | None], Generation]:
    return lambda _: generation


def print_route(route: ModelRoute) -> None:
    """Prints the newest state of a route."""
    from models.model_topic.history import describe_generation

    print(f"{route.data_type}: {describe_generation(route.newest)}")


def _change(
    given: argparse.Namespace, name: str, number: int, data_type: str
) -> Callable[[Generation | None], Generation]:
    from models.errors import RouteError
    from models.model_topic.route_changes import promoted, with_canary, with_shadow

    if given.action == "promote":
        return lambda generation: promoted(generation, name, number)
    share, limits = share_of(given), guardrails_of(given) if given.action == "canary" else None

    def change(generation: Generation | None) -> Generation:
        if generation is None:
            raise RouteError(f"no model answers {data_type!r} records yet; promote {name}/{number} instead")
        if given.action == "shadow":
            return with_shadow(generation, name, number, share)
        return with_canary(generation, name, number, share, limits)

    return change


def _withdraw(given: argparse.Namespace, publisher: Any) -> int:
    from models.errors import RouteError
    from models.model_topic.route_changes import without_arm

    if given.arm is None:
        if given.fence is not None:
            raise OptionsError("--fence needs --arm: a deleted route has no fence")
        publisher.remove(given.data_type)
        print(f"{given.data_type}: no route; the live models answer")
        return 0

    def change(generation: Generation | None) -> Generation:
        if generation is None:
            raise RouteError(f"data type {given.data_type!r} has no route")
        return without_arm(generation, given.arm)

    print_route(publisher.change(given.data_type, change, lead_of(given)))
    return 0


def _apply(given: argparse.Namespace, publisher: Any) -> int:
    from beam_pipeline.publishing.route_file import read_routes
    from models.model_topic.history import describe_generation
    from models.model_topic.route_changes import is_decided, same_route

    declared, published = read_routes(given.file), publisher.routes()
    for data_type, generation in declared.items():
        known = published.get(data_type)
        if generation is None and known is None:
            print(f"{data_type}: unchanged, no route")
        elif generation is None:
            print(f"{data_type}: the route is deleted")
            if not given.dry_run:
                publisher.remove(data_type)
        elif known is not None and same_route(known.route.newest, generation):
            print(f"{data_type}: unchanged")
        elif known is not None and is_decided(known.route, generation):
            print(f"{data_type}: unchanged; the guard has decided: {describe_generation(known.route.newest)}")
        else:
            before = "no route" if known is None else describe_generation(known.route.newest)
            print(f"{data_type}: {before} -> {describe_generation(generation)}")
            if not given.dry_run:
                publisher.change(data_type, _always(generation), lead_of(given), "file")
    return 0


def _history(given: argparse.Namespace, kafka: KafkaSettings, topic: str) -> int:
    from beam_pipeline.cli.tables import print_table
    from models.model_topic.history import read_history

    entries = [
        one
        for one in read_history(kafka, topic)
        if given.name is None or one.subject in (given.name, f"route/{given.name}")
    ]
    print_table(_history_table(entries))
    return 0


def _history_table(entries: Sequence[HistoryEntry]) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for column in ("offset", "time (UTC)", "subject"):
        table.add_column(column, no_wrap=True)
    table.add_column("change", overflow="fold")
    for one in entries:
        moment = datetime.datetime.fromtimestamp(one.at / 1000, datetime.timezone.utc)
        table.add_row(str(one.offset), f"{moment:%m-%d %H:%M:%S}" if one.at else "", one.subject, one.change)
    return table
