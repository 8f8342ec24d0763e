"""The changes of routes: pure functions from one generation to the next."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from models.errors import RouteError
from models.model_topic.catalog import ModelCatalog
from models.model_topic.guardrails import Guardrails
from models.model_topic.route import Arm, Generation, ModelRoute, Segment

LIVE, CANARY = "live", "canary"
"""The names of the arms that the commands create. A record keeps its arm while the arm keeps its name."""


def current_generation(catalog: ModelCatalog, data_type: str) -> Generation | None:
    """The newest generation of a route or, if there is no route, a generation with the same effect.

    It is None if no model scores records of this data type.
    """
    published = catalog.routes.get(data_type)
    if published is not None:
        return published.route.newest
    candidates = catalog.candidates().get(data_type, ())
    if not candidates:
        return None
    live = candidates[0].descriptor
    return Generation((Segment((Arm(LIVE, live.model_name, live.model_version),)),))


def promoted(generation: Generation | None, model: str, version: int) -> Generation:
    """A generation in which a version answers all records; a later canary gets the same keys as an earlier one."""
    segments = (Segment((Arm(LIVE, model, version),)),)
    if generation is None:
        return Generation(segments)
    return Generation(segments, None, generation.split_by, generation.salt)


def with_canary(
    generation: Generation, model: str, version: int, share: float, guardrails: Guardrails | None = None
) -> Generation:
    """The generation with a canary, which answers a share of the records; the other arms answer the rest as before.

    An existing canary is replaced. With guardrails, a guard gives it more records, or removes it.

    Raises:
      RouteError: the share is not between 0 and 1, or the route has segments, which only a file can change.

    >>> live = promoted(None, "wine", 1)
    >>> [(arm.name, arm.label, arm.weight) for arm in with_canary(live, "wine", 2, 0.1).arms]
    [('live', 'wine/1', 0.9), ('canary', 'wine/2', 0.1)]
    """
    if not 0 < share < 1:
        raise RouteError(
            f"the share of a canary must be between 0 and 1, not {share:g}; `promote` gives it all records"
        )
    others = [arm for arm in _only_segment(generation).arms if arm.name != CANARY]
    total = sum(arm.weight for arm in others if arm.answers)
    scaled = [
        replace(arm, weight=round(arm.weight / total * (1 - share), 12)) if arm.answers else arm for arm in others
    ]
    canary = Arm(CANARY, model, version, share, "candidate", guardrails=guardrails)
    return _changed(generation, (*scaled, canary))


def with_shadow(generation: Generation, model: str, version: int, share: float) -> Generation:
    """The generation with a shadow, which also scores a share of the records; its answers go to the shadow topic.

    Raises:
      RouteError: the share is not above 0 and at most 1, or the route has segments.
    """
    if not 0 < share <= 1:
        raise RouteError(f"the share of a shadow must be above 0 and at most 1, not {share:g}")
    name = f"shadow-{model}-{version}"
    others = [arm for arm in _only_segment(generation).arms if arm.name != name]
    return _changed(generation, (*others, Arm(name, model, version, share, "shadow")))


def without_arm(generation: Generation, name: str) -> Generation:
    """The generation without an arm, whose records the other arms that answer share.

    Raises:
      RouteError: the arm does not exist, or is the only one that answers, or the route has segments.
    """
    arms = _only_segment(generation).arms
    if all(arm.name != name for arm in arms):
        raise RouteError(f"the route has no arm {name!r}; it has {', '.join(arm.name for arm in arms)}")
    return _changed(generation, tuple(arm for arm in arms if arm.name != name))


def restored(route: ModelRoute) -> Generation:
    """The generation before the newest one of a route.

    Raises:
      RouteError: the route does not contain an earlier generation.
    """
    if len(route.generations) < 2:
        raise RouteError(f"the route of {route.data_type!r} has no earlier state; choose a version with `promote`")
    return replace(route.generations[-2], fence=None, offset=None, note="")


def check_versions(generation: Generation, catalog: ModelCatalog) -> None:
    """Raises RouteError when an arm or graph names a model or version that the topic does not contain."""
    for where, model, version in generation.models:
        existing = sorted(number for name, number in catalog.versions if name == model)
        if not existing:
            known = ", ".join(sorted({name for name, _ in catalog.versions})) or "none"
            raise RouteError(f"{where}: model {model!r} is unknown; existing models: {known}")
        if version is None and not catalog.live(model):
            raise RouteError(f"{where}: model {model!r} is retired; give a version")
        if version is not None and version not in existing:
            raise RouteError(
                f"{where}: model {model!r} has no version {version}; existing versions: {', '.join(map(str, existing))}"
            )


def always(generation: Generation) -> Callable[[Generation | None], Generation]:
    """The change to this generation, whatever the one before it is."""
    return lambda _: generation


def same_route(one: Generation, other: Generation) -> bool:
    """Whether both answer records in the same way, regardless of when they took effect."""
    return replace(one, fence=None, offset=None, note="") == replace(other, fence=None, offset=None, note="")


def is_decided(route: ModelRoute, declared: Generation) -> bool:
    """Whether only a guard has changed a route since a file declared it.

    Applying the file again would undo the guard's decisions.
    """
    return route.declared is not None and same_route(route.declared, declared)


def _only_segment(generation: Generation) -> Segment:
    if len(generation.segments) > 1:
        raise RouteError("the route has segments; change its file and apply it")
    return generation.segments[0]


def _changed(generation: Generation, arms: tuple[Arm, ...]) -> Generation:
    named = {arm.graph for arm in arms}
    graphs = tuple(graph for graph in generation.graphs if graph.name in named)
    return Generation((Segment(arms),), None, generation.split_by, generation.salt, graphs=graphs)
