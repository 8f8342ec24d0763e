"""Scores records with an inference graph."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from models.columns.outputs import RecordOutputs
from models.columns.scored import ModelCall, ModelIdentity, RouteIdentity, ScoredRecords, StepCall
from models.graphs.answers import Answer, Rows
from models.graphs.schedule import run_steps
from models.model_topic.graph import Graph
from models.records.codecs.base import RecordCodec
from models.routing.plan import PlannedGraph
from models.serving.calling import microseconds
from models.serving.graphs.steps import GraphRun
from models.serving.leases import LeasedArm
from models.serving.registry import ModelRegistry
from models.text import clean_text

GRAPH_TYPE = "graph"
"""The model type in the results of graphs."""

_THREADS = 32


def score_graph(
    planned: PlannedGraph,
    leased: LeasedArm,
    registry: ModelRegistry,
    codec: RecordCodec,
    columns: pa.RecordBatch,
    rows: Rows,
    route: RouteIdentity,
    coordinates: Callable[[], Sequence[bytes]],
) -> Iterator[ScoredRecords]:
    """Scores records with the graph of an arm, whose models must stay open until the last answer is taken.

    Args:
      planned: the graph.
      leased: the arm with its models.
      registry: counts the calls.
      codec: the codec that decoded the records.
      columns: the records.
      rows: their rows in the decoded columns.
      route: the arm as results name it.
      coordinates: returns TOPIC-PARTITION-OFFSET for each record.
    """
    graph, start, began = planned.graph, microseconds(), time.perf_counter()
    run = GraphRun(graph, leased, registry, codec, columns, coordinates)
    run_steps(graph.needs, run.run, _executor())
    duration = round((time.perf_counter() - began) * 1e6)
    identity = ModelIdentity(graph.name, None, GRAPH_TYPE, f"{GRAPH_TYPE}:{graph.name}", None, route.offset)
    for chosen, parts in _alike(graph, run.answers, len(rows)):
        outputs = _outputs(parts.get(graph.output), chosen)
        error, kind = (None, None) if outputs is not None else _cause(graph, parts)
        steps = tuple(call for name, part in parts.items() for call in _calls(name, part))
        call = ModelCall(identity, start, duration, len(rows), error, route, steps, kind)
        yield ScoredRecords(rows[chosen], call, outputs)


Way = Mapping[str, ScoredRecords]
"""The parts of the steps that records went through, in the order of the steps."""


def _alike(graph: Graph, answers: Mapping[str, Answer], count: int) -> Iterator[tuple[Rows, Way]]:
    """Yields the groups of records that took the same path through the graph, with that path."""
    taken: npt.NDArray[np.int64] = np.full((len(graph.order), count), -1)
    for place, name in enumerate(graph.order):
        for number, part in enumerate(answers[name].parts):
            taken[place, part.rows] = number
    if (taken == taken[:, :1]).all():  # the usual case
        yield np.arange(count), _way(graph, answers, taken[:, 0])
        return
    ways, way_of = np.unique(taken, axis=1, return_inverse=True)
    for number in range(ways.shape[1]):
        yield np.flatnonzero(way_of.reshape(-1) == number), _way(graph, answers, ways[:, number])


def _way(graph: Graph, answers: Mapping[str, Answer], numbers: npt.NDArray[np.int64]) -> Way:
    return {
        name: answers[name].parts[number]
        for name, number in zip(graph.order, numbers.tolist(), strict=True)
        if number >= 0
    }


def _outputs(part: ScoredRecords | None, rows: Rows) -> RecordOutputs | None:
    if part is None or part.outputs is None:
        return None
    return part.outputs if len(part.rows) == len(rows) else part.outputs.take(np.searchsorted(part.rows, rows))


def _cause(graph: Graph, way: Way) -> tuple[str, str | None]:
    """Why records have no answer, and the kind of the error.

    It is the error of the output step, otherwise that of the first step that failed.
    """
    for name in (graph.output, *graph.order):
        call = way[name].call if name in way else None
        if call is not None and call.error is not None:
            return clean_text(f"step {name!r}: {call.error}"), call.error_kind
    return clean_text(f"step {graph.output!r} gave no answer"), None


def _calls(name: str, part: ScoredRecords) -> tuple[StepCall, ...]:
    return part.call.steps or (StepCall.of(name, part.call),)


@cache
def _executor() -> ThreadPoolExecutor:
    """The threads that run steps in parallel, for all batches of this process."""
    return ThreadPoolExecutor(_THREADS, "graph-step")
