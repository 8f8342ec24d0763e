"""Plans: routes whose arms have been resolved to the versions that the models topic contains.

A data type without a route has a plan, too: one arm with all candidates, the live version of the model published last
first. A worker serves the first of an arm's versions that it can load.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from models.model_topic.catalog import ModelCatalog
from models.model_topic.graph import Graph
from models.model_topic.guardrails import Guardrails
from models.model_topic.model_use import ModelKey
from models.model_topic.published import PublishedVersion
from models.model_topic.route import ANSWERING, Arm, Fence, Generation, Role


@dataclass(frozen=True)
class PlannedArm:
    """An arm and its versions.

    Attributes:
      versions: the versions in order of preference; empty for a graph, or if the topic does not contain any of them.
      name, role, weight: as in the route; the name is empty if there is no route.
      label: the model as the route names it, for errors.
      graph: the graph that answers instead of a model.
      guardrails: the guardrails of a candidate that a guard watches.
    """

    versions: tuple[PublishedVersion, ...]
    name: str = ""
    role: Role = "serve"
    weight: float = 1.0
    label: str = ""
    graph: PlannedGraph | None = None
    guardrails: Guardrails | None = None

    @property
    def answers(self) -> bool:
        """Whether this arm can answer records."""
        return self.role in ANSWERING and self.weight > 0

    @property
    def needs(self) -> tuple[PlannedArm, ...]:
        """The arms whose models it needs: the arm itself, or those of its graph."""
        return (self,) if self.graph is None else tuple(self.graph.models.values())


@dataclass(frozen=True)
class PlannedGraph:
    """A graph and its models, each as an arm of its own."""

    graph: Graph
    models: Mapping[ModelKey, PlannedArm]


@dataclass(frozen=True)
class PlannedSegment:
    """The arms for the records that meet a condition; without a condition, for every record."""

    arms: tuple[PlannedArm, ...]
    condition: str | None = None


@dataclass(frozen=True)
class PlannedGeneration:
    """A generation of a route; see `models.model_topic.route.Generation`.

    Attributes:
      offset: the offset of the message that introduced it; None if there is no route.
    """

    segments: tuple[PlannedSegment, ...]
    fence: Fence | None = None
    split_by: tuple[str, ...] = ()
    salt: str = ""
    offset: int | None = None

    @property
    def arms(self) -> Iterator[PlannedArm]:
        """The arms of all segments."""
        return (arm for segment in self.segments for arm in segment.arms)

    def versions(self) -> Iterator[PublishedVersion]:
        """The versions of all arms."""
        return (version for arm in self.arms for one in arm.needs for version in one.versions)


Plan = tuple[PlannedGeneration, ...]
"""The generations of a route, the newest first."""


def implicit_plan(candidates: tuple[PublishedVersion, ...]) -> Plan:
    """The plan of a data type without a route: one arm that serves the first candidate that can be loaded."""
    return (PlannedGeneration((PlannedSegment((PlannedArm(candidates),)),)),)


def plans(catalog: ModelCatalog) -> dict[str, Plan]:
    """The plan of each data type that has a route or a live model."""
    found = {data_type: implicit_plan(versions) for data_type, versions in catalog.candidates().items()}
    for data_type, published in catalog.routes.items():
        newest_first = reversed(published.route.generations)
        found[data_type] = tuple(_planned(catalog, one) for one in newest_first)
    return found


def _planned(catalog: ModelCatalog, generation: Generation) -> PlannedGeneration:
    graphs = {graph.name: graph for graph in generation.graphs}
    segments = tuple(
        PlannedSegment(tuple(_planned_arm(catalog, arm, graphs) for arm in one.arms), one.condition)
        for one in generation.segments
    )
    return PlannedGeneration(segments, generation.fence, generation.split_by, generation.salt, generation.offset)


def _planned_arm(catalog: ModelCatalog, arm: Arm, graphs: Mapping[str, Graph]) -> PlannedArm:
    if arm.graph is not None:
        graph = graphs[arm.graph]
        models = {
            use.key: _planned_arm(catalog, Arm(arm.name, *use.key, arm.weight, arm.role), graphs) for use in graph.uses
        }
        return PlannedArm((), arm.name, arm.role, arm.weight, arm.label, PlannedGraph(graph, models), arm.guardrails)
    if arm.version is None:
        versions = catalog.live(arm.model)
    else:
        version = catalog.versions.get((arm.model, arm.version))
        versions = () if version is None else (version,)
    return PlannedArm(versions, arm.name, arm.role, arm.weight, arm.label, guardrails=arm.guardrails)
