"""Routes: messages that define which models answer the records of a data type.

A route is a message of the models topic keyed route/DATA_TYPE. It contains *generations*: the newest one, and the
earlier ones by which records may still be scored. A generation without a fence takes effect as soon as its models are
loaded. A generation with a fence takes effect at the fence, for every worker and also when records are scored again.
The earlier generations are therefore part of the message: compaction keeps only the last one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from models.columns.condition import parse_condition
from models.errors import RouteError
from models.model_topic.graph import Graph
from models.model_topic.guardrails import Guardrails
from models.model_topic.names import check_name

Role = Literal["serve", "candidate", "shadow"]
ROLES: tuple[Role, ...] = get_args(Role)
ANSWERING: tuple[Role, ...] = ("serve", "candidate")
"""The roles whose answers go to the results topic."""

LEAST_WEIGHT, LARGEST_WEIGHT = 1e-6, 1e6

GENERATIONS_KEPT = 256
"""The maximum number of generations in a route; the message then has about 50 kB."""


@dataclass(frozen=True)
class Arm:
    """A model or a graph of a route.

    Attributes:
      name: the name of the arm in results and in the split; unique within its segment.
      model: the name of the model; empty for a graph.
      version: the version of the model; None means the live version, which a fenced generation does not allow.
      weight: the share of records, relative to the other arms that answer; for a shadow, the share of records that it
        also scores, from 0 to 1.
      role: serve and candidate answer records; a shadow scores the records that others answer.
      graph: the name of a graph of the generation; None for a model.
      guardrails: the limits within which a guard advances a candidate; None if only people change it.
    """

    name: str
    model: str
    version: int | None = None
    weight: float = 1.0
    role: Role = "serve"
    graph: str | None = None
    guardrails: Guardrails | None = None

    def __post_init__(self) -> None:
        check_name(self.name)
        if self.graph is None:
            check_name(self.model)
        elif self.model or self.version is not None:
            raise RouteError(
                f"arm {self.name!r}: it must have either a model or a graph; a graph names its models itself"
            )
        if self.role not in ROLES:
            raise RouteError(f"arm {self.name!r}: role {self.role!r} is not one of {', '.join(ROLES)}")
        if self.weight != 0 and not LEAST_WEIGHT <= self.weight <= LARGEST_WEIGHT:
            raise RouteError(
                f"arm {self.name!r}: weight {self.weight} is neither 0 nor a number from {LEAST_WEIGHT:g} to "
                f"{LARGEST_WEIGHT:g}"
            )
        if self.role == "shadow" and self.weight > 1:
            raise RouteError(
                f"arm {self.name!r}: the weight of a shadow must be a share from 0 to 1, not {self.weight:g}"
            )
        if self.guardrails is not None and self.role != "candidate":
            raise RouteError(f"arm {self.name!r}: only a candidate can have guardrails")
        if self.guardrails is not None and self.graph is not None:
            raise RouteError(
                f"arm {self.name!r}: a graph cannot have guardrails; change its weight in the file of routes"
            )
        if self.version is not None and self.version < 1:
            raise RouteError(f"arm {self.name!r}: version {self.version} is below 1")

    @property
    def answers(self) -> bool:
        """Whether this arm can answer records."""
        return self.role in ANSWERING and self.weight > 0

    @property
    def label(self) -> str:
        """MODEL/VERSION, MODEL for the live version, or `graph NAME`."""
        if self.graph is not None:
            return f"graph {self.graph}"
        return self.model if self.version is None else f"{self.model}/{self.version}"


@dataclass(frozen=True)
class Segment:
    """Arms for the records that meet a condition.

    Attributes:
      arms: the arms, at least one of which answers.
      condition: a condition on the fields of a record (`models.columns.condition`); None means every record.
    """

    arms: tuple[Arm, ...]
    condition: str | None = None

    def __post_init__(self) -> None:
        if self.condition is not None:
            parse_condition(self.condition)
        names = [arm.name for arm in self.arms]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise RouteError(f"two arms are named {twice[0]!r}; each needs a name of its own")
        if not any(arm.answers for arm in self.arms):
            where = "of the route" if self.condition is None else f"for {self.condition!r}"
            raise RouteError(f"no arm {where} answers records: at least one needs the role serve and a weight above 0")


@dataclass(frozen=True)
class Fence:
    """The first records to which a generation applies.

    Attributes:
      timestamp: the lowest Kafka timestamp of the records behind the fence, in milliseconds since 1970-01-01 UTC.
      offsets: the lowest offset behind the fence, by topic and partition; no record of another partition is behind
        it.
    """

    timestamp: int | None = None
    offsets: Mapping[tuple[str, int], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if (self.timestamp is None) == (not self.offsets):
            raise RouteError("a fence must have either a timestamp or offsets")


@dataclass(frozen=True)
class Generation:
    """One state of a route.

    Attributes:
      segments: the segments; the first one whose condition a record meets determines its arms. The last one has no
      condition.
      fence: the first records to which it applies; None if it takes effect as soon as its models are loaded.
      split_by: the fields whose hash selects the arm of a record; if empty, the hash of its key does.
      salt: part of the hash; two routes with the same salt split the same keys in the same way.
      offset: the offset of the message that introduced it; None for the newest generation of a message.
      graphs: the graphs that its arms name.
      note: the reason for its publication, for people.
    """

    segments: tuple[Segment, ...]
    fence: Fence | None = None
    split_by: tuple[str, ...] = ()
    salt: str = ""
    offset: int | None = None
    graphs: tuple[Graph, ...] = ()
    note: str = ""

    def __post_init__(self) -> None:
        if not self.segments or any(one.condition is None for one in self.segments[:-1]):
            raise RouteError("only the last segment of a route may have no condition")
        if self.segments[-1].condition is not None:
            raise RouteError("the route has no arms for records that meet none of its conditions")
        self._check_graphs()
        self._check_guardrails()
        if self.fence is not None:
            for where, model, version in self.models:
                if version is None:
                    raise RouteError(
                        f"{where}: a route with a fence must name versions, because the live version of {model!r} may "
                        "change at any record"
                    )

    @property
    def arms(self) -> tuple[Arm, ...]:
        """The arms of all segments."""
        return tuple(arm for segment in self.segments for arm in segment.arms)

    @property
    def models(self) -> Iterator[tuple[str, str, int | None]]:
        """Every model of an arm or graph: its place, its name, and its version if one is given."""
        yield from ((f"arm {arm.name!r}", arm.model, arm.version) for arm in self.arms if arm.graph is None)
        for graph in self.graphs:
            for step in graph.steps:
                yield from ((f"graph {graph.name!r}, step {step.name!r}", use.model, use.version) for use in step.uses)

    def _check_guardrails(self) -> None:
        guarded = [arm for arm in self.arms if arm.guardrails is not None]
        if guarded and (len(guarded) > 1 or len(self.segments) > 1):
            raise RouteError(
                f"arm {guarded[0].name!r} has guardrails, so it must be the only such arm, and the route cannot have "
                "segments"
            )

    def _check_graphs(self) -> None:
        named = {arm.graph for arm in self.arms if arm.graph is not None}
        existing = [graph.name for graph in self.graphs]
        for name in sorted(named.difference(existing)):
            known = ", ".join(existing) or "none"
            raise RouteError(f"graph {name!r} of an arm does not exist; graphs of the route: {known}")
        for name in existing:
            if existing.count(name) > 1:
                raise RouteError(f"two graphs are named {name!r}; each needs a name of its own")
            if name not in named:
                raise RouteError(f"no arm names graph {name!r}; let an arm name it, or remove it")


@dataclass(frozen=True)
class ModelRoute:
    """The route of a data type.

    Attributes:
      data_type: the data type of the records.
      generations: the generations, the oldest first.
      updated_at: milliseconds since 1970-01-01 UTC.
      declared: the generation that a file declared, if only a guard has changed the route since.
    """

    data_type: str
    generations: tuple[Generation, ...]
    updated_at: int = 0
    declared: Generation | None = None

    def __post_init__(self) -> None:
        check_name(self.data_type)
        if not self.generations:
            raise RouteError(f"the route of {self.data_type!r} is empty")

    @property
    def newest(self) -> Generation:
        """The generation that was published last."""
        return self.generations[-1]

    def at(self, offset: int) -> ModelRoute:
        """The route with the offset of its message in the newest generation."""
        numbered = tuple(one if one.offset is not None else replace(one, offset=offset) for one in self.generations)
        return replace(self, generations=numbered)

    def followed_by(self, generation: Generation, updated_at: int, declared: Generation | None = None) -> ModelRoute:
        """The route with a new generation added.

        Records before a fence still need the earlier generations. Those before the penultimate generation without a
        fence are dropped: that one serves until the models of the last one are loaded.
        """
        every = (*self.generations, generation)
        open_ended = [place for place, one in enumerate(every) if one.fence is None]
        first = open_ended[-2] if len(open_ended) > 1 else 0
        return ModelRoute(self.data_type, every[first:][-GENERATIONS_KEPT:], updated_at, declared)
