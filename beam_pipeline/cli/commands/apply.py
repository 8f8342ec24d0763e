"""`beam-serving models apply`: publishes the models and routes that files declare, and changes nothing else."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from beam_pipeline.cli.arguments import add_action, add_options
from beam_pipeline.cli.option_values import kafka_settings, optional_record_type
from beam_pipeline.cli.route_arguments import add_fence, lead_of
from beam_pipeline.logs import without_start_lines
from models.scorers import prepare_engines

if TYPE_CHECKING:
    from beam_pipeline.publishing.declared_models import ModelPlan
    from beam_pipeline.publishing.model_file import DeclaredModel
    from models.kafka.client import KafkaSettings
    from models.model_topic.route import Generation

APPLY = "apply"


def add_apply(actions: Any, options: Sequence[str]) -> None:
    """Adds the action to those of `models`."""
    apply = add_action(actions, APPLY, "publish the models and routes that files declare")
    apply.add_argument(
        "--file", "-f", required=True, metavar="FILE", help="a YAML file, or a folder of them, such as a ConfigMap"
    )
    apply.add_argument("--dry-run", action="store_true", help="only check new versions, and print what would change")
    add_fence(apply)
    add_options(apply, options)


def run_apply(given: argparse.Namespace, values: Mapping[str, Any]) -> int:
    """Applies the files and returns the exit status; nothing is published unless all new versions can serve."""
    from beam_pipeline.publishing.declaration import read_declaration

    lead = lead_of(given)
    declared = read_declaration(given.file)
    kafka, topic = kafka_settings(values), values["models_topic"]
    if declared.models:
        _apply_models(kafka, values, declared.models, given.dry_run)
    if declared.routes:
        _apply_routes(kafka, topic, declared.routes, lead, given.dry_run)
    if not declared.models and not declared.routes:
        print(f"{given.file} declares no models and no routes")
    return 0


def _apply_models(
    kafka: KafkaSettings, values: Mapping[str, Any], declared: Sequence[DeclaredModel], dry_run: bool
) -> None:
    from beam_pipeline.publishing.declared_models import DeclaredModels
    from models.artifacts.pickles import AllowedPickles
    from models.model_topic.publisher import ModelPublisher

    topic = ModelPublisher(kafka, values["models_topic"])
    pickles = AllowedPickles.parse(values.get("allow_pickle"))
    models = DeclaredModels(topic, optional_record_type(values), pickles)
    plans = models.plans(declared)
    for plan in plans:
        _prepare(plan)
        for line in plan.lines():
            print(line)
        for inspection in models.check(plan):
            for line in inspection.lines():
                print(f"  {line}")
    if not dry_run:
        for plan in plans:
            models.carry_out(plan)


def _prepare(plan: ModelPlan) -> None:
    with without_start_lines():
        prepare_engines(sorted({version.draft.model_type for version in plan.new}))


def _apply_routes(
    kafka: KafkaSettings, topic: str, declared: Mapping[str, Generation | None], lead: float | None, dry_run: bool
) -> None:
    from models.model_topic.history import describe_generation
    from models.model_topic.route_changes import always, is_decided, same_route
    from models.model_topic.route_publisher import RoutePublisher

    publisher = RoutePublisher(kafka, topic)
    published = publisher.routes()
    for data_type, generation in declared.items():
        known = published.get(data_type)
        if generation is None and known is None:
            print(f"{data_type}: unchanged, no route")
        elif generation is None:
            print(f"{data_type}: the route is deleted")
            if not dry_run:
                publisher.remove(data_type)
        elif known is not None and same_route(known.route.newest, generation):
            print(f"{data_type}: unchanged")
        elif known is not None and is_decided(known.route, generation):
            print(f"{data_type}: unchanged; the guard has decided: {describe_generation(known.route.newest)}")
        else:
            before = "no route" if known is None else describe_generation(known.route.newest)
            print(f"{data_type}: {before} -> {describe_generation(generation)}")
            if not dry_run:
                publisher.change(data_type, always(generation), lead, "file")
