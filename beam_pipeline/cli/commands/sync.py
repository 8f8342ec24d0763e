"""`beam-serving models sync mlflow`: publishes the version behind an alias of MLflow's registry, and follows it."""

from __future__ import annotations

import argparse
import os
import sys
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from beam_pipeline.cli.argument_values import seconds_named
from beam_pipeline.cli.option_values import kafka_settings, optional_record_type
from beam_pipeline.logs import without_start_lines
from models.errors import OptionsError, ServingError
from models.scorers import prepare_engines

if TYPE_CHECKING:
    from beam_pipeline.publishing.alias import AliasPublisher
    from beam_pipeline.publishing.drafts import Draft

SYNC = "sync"
REGISTRIES = ("mlflow",)
_SERVER_VARIABLE = "MLFLOW_TRACKING_URI"
_EVERY = "30s"


def add_sync_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments that name the alias, and the interval at which it is checked."""
    parser.add_argument("registry", choices=REGISTRIES, help="the kind of registry")
    parser.add_argument(
        "--tracking-uri", metavar="URL", help=f"the URL of MLflow's server (default: the variable {_SERVER_VARIABLE})"
    )
    parser.add_argument("--alias", required=True, help="the alias to follow, such as champion")
    parser.add_argument(
        "--registered-model", metavar="NAME", help="the model's name in the registry (default: that of --name)"
    )
    often = parser.add_mutually_exclusive_group()
    often.add_argument("--once", action="store_true", help="check the alias once and exit")
    often.add_argument("--every", metavar="T", default=_EVERY, help=f"the interval between checks (default: {_EVERY})")


def sync_location(given: argparse.Namespace) -> str:
    """The location of the alias; raises OptionsError when no server is named, or --inline is given."""
    if given.inline:
        raise OptionsError("--inline cannot be used with a registry: workers load the model from there")
    if seconds_named("every", given.every) <= 0:
        raise OptionsError("--every must be above 0")
    server = given.tracking_uri or os.environ.get(_SERVER_VARIABLE, "")
    if not server.startswith(("http://", "https://")):
        raise OptionsError(
            f"--tracking-uri must be the URL of MLflow's server, such as http://HOST:5000, not {server!r}"
        )
    model = quote(given.registered_model or given.name, safe="")
    return f"mlflow+{server.rstrip('/')}/models:/{model}@{quote(given.alias, safe='')}"


def run_sync(given: argparse.Namespace, values: dict[str, Any], draft: Draft) -> int:
    """Checks the alias once, or repeatedly until interrupted, and returns the exit status."""
    from beam_pipeline.publishing.alias import AliasPublisher
    from models.artifacts.pickles import AllowedPickles
    from models.model_topic.publisher import ModelPublisher

    record_type = optional_record_type(values)
    pickles = AllowedPickles.parse(values.get("allow_pickle"))
    topic = ModelPublisher(kafka_settings(values), values["models_topic"])
    with without_start_lines():
        prepare_engines([draft.model_type])
    alias = AliasPublisher(draft, topic, record_type, pickles)
    if given.once:
        print(f"{draft.name}: {alias.check()}")
        return 0
    _follow(alias, draft.name, seconds_named("every", given.every))
    return 0


def _follow(alias: AliasPublisher, name: str, seconds: float) -> None:
    """Checks the alias until interrupted. Failures are retried; an outcome is printed only when it changes."""
    printed = ""
    while True:
        try:
            text, stream = str(alias.check()), sys.stdout
        except OptionsError:
            raise
        except ServingError as error:
            text, stream = f"not published: {error}", sys.stderr
        if text != printed:
            print(f"{name}: {text}", file=stream, flush=True)
        printed = text
        time.sleep(seconds)
