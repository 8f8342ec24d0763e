"""Leases: the models that one batch uses, and the records to which each generation of a route applies."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType

import numpy as np
import numpy.typing as npt

from models.loading.loader import LoadedModel
from models.model_topic.model_use import ModelKey
from models.model_topic.route import Fence
from models.routing.plan import PlannedArm, PlannedGeneration
from models.serving.pool import PooledModel

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Coordinates:
    """The coordinates of a batch's records, which come from one partition, as columns.

    Attributes:
      topic, partition: the origin of all records.
      offsets, timestamps: int64 [records]; timestamps in milliseconds since 1970-01-01 UTC.
    """

    topic: str
    partition: int
    offsets: npt.NDArray[np.int64]
    timestamps: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets)

    def behind(self, fence: Fence) -> npt.NDArray[np.bool_]:
        """Whether each record is at the fence or behind it: bool [records]."""
        if fence.timestamp is not None:
            late: npt.NDArray[np.bool_] = self.timestamps >= fence.timestamp
            return late
        first = fence.offsets.get((self.topic, self.partition))
        if first is None:
            return np.zeros(len(self), np.bool_)
        behind: npt.NDArray[np.bool_] = self.offsets >= first
        return behind


@dataclass(frozen=True)
class LeasedArm:
    """An arm of a route and its model.

    Attributes:
      arm: the arm.
      pooled: the model in the pool; None if there is none.
      model: the same model, loaded.
      error: why there is no model.
      models: the models of a graph, each as an arm of its own.
    """

    arm: PlannedArm
    pooled: PooledModel | None = None
    model: LoadedModel | None = None
    error: str | None = None
    models: Mapping[ModelKey, LeasedArm] = field(default_factory=dict)

    @property
    def version_number(self) -> int | None:
        """The version of its model; None if there is none."""
        return None if self.pooled is None else self.pooled.version.descriptor.model_version

    @property
    def is_loaded(self) -> bool:
        """Whether its model, or every model of its graph, is loaded."""
        if self.arm.graph is None:
            return self.model is not None
        return all(one.is_loaded for one in self.models.values())

    def pooled_models(self) -> list[PooledModel]:
        """The models that are used: one, or those of the graph."""
        own = [self.pooled] if self.pooled is not None else []
        return own + [pooled for one in self.models.values() for pooled in one.pooled_models()]


@dataclass(frozen=True)
class LeasedPart:
    """The records to which one generation of a route applies.

    Attributes:
      rows: their indices in the batch, ascending.
      generation: the generation; None if no model is defined for them.
      forgotten: whether they lie before the fence of the oldest generation that the route still keeps.
      arms: the arms by segment and place, as in the generation.
    """

    rows: Rows
    generation: PlannedGeneration | None = None
    forgotten: bool = False
    arms: tuple[tuple[LeasedArm, ...], ...] = ()


@dataclass(frozen=True)
class Lease:
    """The models in use by one batch: `with registry.lease(data_type, coordinates) as lease`.

    A model is not closed while a lease of it is held.

    Attributes:
      parts: the parts of the batch, which cover all of its records.
      give_back: called to end the use of the models.
    """

    parts: tuple[LeasedPart, ...]
    give_back: Callable[[list[PooledModel]], None]

    def __enter__(self) -> Lease:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.give_back([pooled for arm in self._arms() for pooled in arm.pooled_models()])

    def _arms(self) -> Iterator[LeasedArm]:
        return (arm for part in self.parts for segment in part.arms for arm in segment)


def parts_of(
    plan: tuple[PlannedGeneration, ...],
    current: PlannedGeneration | None,
    coordinates: Coordinates,
) -> list[tuple[Rows, PlannedGeneration | None]]:
    """Divides the records by the generation that applies to them; each record is in one part.

    A generation with a fence applies to all records behind the fence, unless a newer one does. The current generation
    applies to the others: the newest one without a fence whose models are loaded. If a generation without a fence is
    newer than one with a fence, the fence counts only until the newer one is current.

    Args:
      plan: the generations, the newest first.
      current: the generation without a fence that is in effect; None if there is none.
      coordinates: the coordinates of the records.
    """
    rows = np.arange(len(coordinates))
    found: list[tuple[Rows, PlannedGeneration | None]] = []
    for generation in plan:
        if generation is current:
            break
        if generation.fence is None or not len(rows):
            continue
        behind = coordinates.behind(generation.fence)[rows]
        if behind.any():
            found.append((rows[behind], generation))
            rows = rows[~behind]
    if len(rows) or not found:
        found.append((rows, current))
    return found
