"""What can be done with a click: promote a version, roll back, publish a model. The same code as in the commands."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from beam_pipeline.dashboard.settings import DashboardSettings
from models.errors import OptionsError, PublishError
from models.kafka.client import KafkaSettings
from models.model_topic.history import describe_generation
from models.model_topic.publisher import ModelPublisher
from models.model_topic.route import ModelRoute
from models.model_topic.route_changes import promoted, restored
from models.model_topic.route_publisher import RoutePublisher
from models.model_topic.transactions import TopicTransactions
from models.scorers import model_types
from models.text import limit_text
from runners.local.process_guard import ProcessGuard

_PUBLISH_SECONDS = 300.0
_TEXT_LIMIT = 2_000
_TEXTS = ("name", "type", "location", "data_type", "signature", "description")
_LISTS = ("input", "output", "option")


class Actions:
    """Changes what is served. Each method returns what it did, for people.

    Args:
      settings: the brokers, the models topic, and the options for publishing.
    """

    def __init__(self, settings: DashboardSettings) -> None:
        self._kafka: KafkaSettings = settings.kafka
        self._topic = settings.topics.models
        self._publish_options = settings.publish_options
        self._process: subprocess.Popen[str] | None = None

    def promote(self, request: Mapping[str, Any]) -> str:
        """Lets a version (`model`, `version`) answer all records of its data type, as `models promote` does.

        Raises:
          OptionsError: the request is malformed.
          ServingError: the version does not exist, or the route was not published.
        """
        model, version = request.get("model"), request.get("version")
        if not isinstance(model, str) or not isinstance(version, int):
            raise OptionsError("promote needs a model (text) and a version (a whole number)")
        known = TopicTransactions(self._kafka, self._topic).read().versions.get((model, version))
        if known is None:
            raise PublishError(f"version {limit_text(model, 80)}/{version} is not in topic {self._topic!r}")
        data_type = known.descriptor.data_type
        routes = RoutePublisher(self._kafka, self._topic)
        return _described(routes.change(data_type, lambda before: promoted(before, model, version)))

    def roll_back(self, request: Mapping[str, Any]) -> str:
        """Restores what answered a data type (`data_type`) before, as `models rollback` does.

        Raises:
          OptionsError: the request is malformed.
          ServingError: there is nothing to restore, or it was not published.
        """
        data_type = request.get("data_type")
        if not isinstance(data_type, str):
            raise OptionsError("roll back needs a data_type (text)")
        catalog = TopicTransactions(self._kafka, self._topic).read()
        published = catalog.routes.get(data_type)
        if published is not None:
            before = restored(published.route)
            return _described(RoutePublisher(self._kafka, self._topic).change(data_type, lambda _: before))
        candidates = catalog.candidates().get(data_type)
        if not candidates:
            raise PublishError(f"no model answers {limit_text(data_type, 80)!r} records")
        name = candidates[0].descriptor.model_name
        pointer = ModelPublisher(self._kafka, self._topic).rollback(name)
        return f"{name}: version {pointer.live_version} is live"

    def publish(self, request: Mapping[str, Any]) -> str:
        """Checks a model and publishes it, as `models publish` does, in a process of its own.

        Loading a model may take gigabytes, and may end the process that does it.

        Args:
          request: `name`, `type`, `location`; optionally `data_type`, `signature`, `description` (texts), `input`,
            `output`, `option` (lists of texts), and `live`, without which the version only becomes available.

        Raises:
          OptionsError: the request is malformed.
          PublishError: the model was refused; the text has the reason.
        """
        words = publish_arguments(request)
        with _private_file(json.dumps({**self._publish_options, "models-topic": self._topic})) as config:
            command = [sys.executable, "-m", "beam_pipeline", "models", "publish", "--config", str(config), *words]
            status, output, errors = self._run(command)
        if status:
            lines = errors.strip().splitlines() or [f"publishing ended with exit status {status}"]
            raise PublishError(limit_text(lines[-1].removeprefix("beam-serving models: "), _TEXT_LIMIT))
        return limit_text(output.strip(), 2 * _TEXT_LIMIT)

    def close(self) -> None:
        """Ends a process that publishes."""
        if self._process is not None:
            self._process.kill()

    def _run(self, command: list[str]) -> tuple[int, str, str]:
        """Runs a command; returns its exit status, output and errors. Only one runs at a time."""
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        guard = ProcessGuard(self._process.pid)
        try:
            output, errors = self._process.communicate(timeout=_PUBLISH_SECONDS)
        except subprocess.TimeoutExpired as error:
            self._process.kill()
            self._process.communicate()
            raise PublishError(f"the model was not loaded within {_PUBLISH_SECONDS:g} s") from error
        finally:
            guard.close()
        return self._process.returncode, output, errors


def publish_arguments(request: Mapping[str, Any]) -> list[str]:
    """The arguments of `models publish` for a request; raises OptionsError if it is malformed.

    >>> publish_arguments({"name": "wine", "type": "onnx", "location": "gs://b/m", "input": ["x=alcohol"]})
    ['--name=wine', '--type=onnx', '--location=gs://b/m', '--input=x=alcohol', '--no-promote']
    """
    given = {name: request[name] for name in (*_TEXTS, *_LISTS) if request.get(name)}
    for name in ("name", "type", "location"):
        if name not in given:
            raise OptionsError(f"publish needs a {name}")
    listed = {name: value if name in _LISTS else [value] for name, value in given.items()}
    for name, values in listed.items():
        if not isinstance(values, list) or not all(isinstance(one, str) and len(one) <= _TEXT_LIMIT for one in values):
            raise OptionsError(f"{name} is not text, or is too long")
    if given["type"] not in model_types():
        raise OptionsError(f"type is not one of {', '.join(model_types())}")
    words = [f"--{name.replace('_', '-')}={value}" for name, values in listed.items() for value in values]
    return words if request.get("live") is True else [*words, "--no-promote"]


def _described(route: ModelRoute) -> str:
    return f"{route.data_type}: {limit_text(describe_generation(route.newest), _TEXT_LIMIT)}"


@contextmanager
def _private_file(content: str) -> Iterator[Path]:
    """A file that only this user may read, which exists within the block."""
    number, name = tempfile.mkstemp(prefix="beam-serving-", suffix=".yaml")
    path = Path(name)
    try:
        with os.fdopen(number, "w", encoding="utf-8") as file:
            file.write(content)
        yield path
    finally:
        path.unlink(missing_ok=True)
