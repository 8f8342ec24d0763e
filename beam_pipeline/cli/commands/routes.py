"""Runs the actions of `beam-serving models` on routes: promote, canary, shadow, withdraw, history."""

from __future__ import annotations

import argparse
import datetime
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from beam_pipeline.cli.argument_values import version_named
from beam_pipeline.cli.route_arguments import guardrails_of, lead_of, share_of
from models.errors import OptionsError

if TYPE_CHECKING:
    from rich.table import Table

    from models.kafka.client import KafkaSettings
    from models.model_topic.history import HistoryEntry
    from models.model_topic.route import Generation, ModelRoute


def run_route_action(given: argparse.Namespace, kafka: KafkaSettings, topic: str) -> int:
    """Runs the action and returns the exit status."""
    from models.model_topic.route_publisher import RoutePublisher

    if given.action == "history":
        return _history(given, kafka, topic)
    publisher = RoutePublisher(kafka, topic)
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
    from models.model_topic.route_changes import always, promoted, restored
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
        print_route(publisher.change(data_type, always(before), lead_of(given)))
    return True


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
