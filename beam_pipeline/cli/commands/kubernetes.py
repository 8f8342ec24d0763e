"""`beam-serving kubernetes`: keeps ModelVersion objects of a namespace current, with events when models change."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING

from beam_pipeline.cli.argument_values import seconds_named
from beam_pipeline.cli.arguments import add_options, runs_until_stopped
from beam_pipeline.cli.option_values import kafka_settings, read_options, require
from beam_pipeline.logs import set_up_logs
from models.errors import KafkaUnreachableError, KubernetesError, OptionsError

if TYPE_CHECKING:
    from beam_pipeline.cli.commands.status import ModelsTopic
    from beam_pipeline.cli.model_objects.namespace import ModelNamespace
    from beam_pipeline.cli.topic_reading import TopicTail
    from models.status.model_status import StatusFold

_OPTIONS = ("bootstrap-servers", "models-topic", "status-topic", "kafka-config", "group")
_EVERY = "10s"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's own arguments."""
    runs_until_stopped(parser)
    add_options(parser, _OPTIONS)
    parser.add_argument(
        "--namespace", help="the namespace of the objects (default: that of the pod, or of the kubeconfig's context)"
    )
    parser.add_argument(
        "--owner",
        metavar="DEPLOYMENT",
        help="the Deployment with which Kubernetes deletes the objects (default: they remain)",
    )
    parser.add_argument("--every", metavar="T", default=_EVERY, help=f"the interval (default: {_EVERY})")
    parser.add_argument("--once", action="store_true", help="update the objects once and exit")
    parser.add_argument("--touch", metavar="FILE", help="a file to touch after each update, for a liveness probe")


def run(given: argparse.Namespace, rest: Sequence[str]) -> int:
    """Updates the objects until stopped; see `command_line.Command`."""
    set_up_logs(quiet=True)
    values = read_options(given, _OPTIONS)
    require(values, ["models-topic", "status-topic", "group"])
    every = seconds_named("every", given.every)
    if every <= 0:
        raise OptionsError("--every must be above 0")
    kafka = kafka_settings(values)
    from beam_pipeline.cli.commands.status import ModelsTopic
    from beam_pipeline.cli.model_objects.namespace import ModelNamespace
    from beam_pipeline.cli.topic_reading import TopicTail
    from models.status.model_status import StatusFold

    namespace = ModelNamespace(given.namespace, given.owner)
    with ExitStack() as stack:
        models = stack.enter_context(closing(ModelsTopic(kafka, values["models_topic"])))
        events = stack.enter_context(closing(TopicTail(kafka, values["status_topic"])))
        mirror = _Mirror(namespace, models, events, StatusFold(values["group"]))
        while True:
            if mirror.update(raising=given.once) and given.touch:
                Path(given.touch).touch()
            if given.once:
                return 0
            time.sleep(every)


class _Mirror:
    def __init__(self, namespace: ModelNamespace, models: ModelsTopic, events: TopicTail, fold: StatusFold) -> None:
        self._namespace = namespace
        self._models = models
        self._events = events
        self._fold = fold
        self._failure = ""

    def update(self, raising: bool) -> bool:
        """Updates the objects and prints what changed; returns False if that failed, and prints the reason once."""
        try:
            self._update()
        except (KafkaUnreachableError, KubernetesError) as error:
            if raising:
                raise
            if str(error) != self._failure:
                print(f"beam-serving kubernetes: {error}; trying again", file=sys.stderr, flush=True)
            self._failure = str(error)
            return False
        self._failure = ""
        return True

    def _update(self) -> None:
        from beam_pipeline.cli.model_objects.model_object import object_of
        from models.status.model_status import SILENT_MILLISECONDS

        malformed = self._fold.malformed
        for message in self._events.news():
            self._fold.add(message.value() or b"")
        if self._fold.malformed > malformed:
            print(f"beam-serving kubernetes: {self._fold.notice}", file=sys.stderr, flush=True)
        versions, _ = self._models.versions()
        heard = time.time_ns() // 1_000_000 - SILENT_MILLISECONDS
        statuses = self._fold.statuses(versions, heard)
        objects = [object_of(version, status) for version, status in zip(versions, statuses, strict=True)]
        for change in self._namespace.update(objects):
            print(f"{change.reason}: {change.message}", flush=True)
