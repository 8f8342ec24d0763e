"""Bad and good models against admission and the guard: where is each caught, and how many records has it affected?

Real SavedModels pass the real checks of publishing and loading, answer their share of a stream of records in a real
registry beside a live model, are compared with it by the real shadow scorer, and are judged by the real guard. Only
Kafka is left out: the guard publishes to the catalog, and a worker's report reaches it at once. There is one report for
each batch, which is a second of the stream.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import NormalDist, median

import numpy as np

from models.artifacts.digest import digest_of_path
from models.artifacts.local_opener import LocalOpener
from models.errors import ServingError
from models.guarding.guard import ReportedStatistics, RouteGuard
from models.kafka.client import KafkaSettings
from models.loading.loader import ModelLoader
from models.model_topic.catalog import ModelCatalog
from models.model_topic.descriptor import (
    ModelDescriptor,
    ModelPointer,
    encode_descriptor,
    encode_pointer,
    pointer_key,
    version_key,
)
from models.model_topic.guardrails import Guardrails
from models.model_topic.names import route_key
from models.model_topic.route import Generation, ModelRoute
from models.model_topic.route_changes import current_generation, with_canary
from models.model_topic.route_encoding import encode_route
from models.model_topic.route_publisher import Origin, next_route
from models.records.batch import RecordBatch
from models.routing.plan import plans
from models.serving.assembly import ScoringSettings, score_batch
from models.serving.registry import ModelRegistry
from models.serving.shadows import ShadowScorer
from models.status.events import StatusEvent
from tests.models.fakes import batch_of, schema_of
from tests.saved_models import save_garbage, save_grading_model, save_nothing, save_string_model

NAME = "graded"
LIVE, CANDIDATE = 1, 2
BATCH = 2_000
MOST_REPORTS = 500
WAIT_SECONDS = 60.0

Where = str
SCHEMA = schema_of(x="float", dataType="string")
XS = NormalDist()
"""The values of the records."""


@dataclass(frozen=True)
class Subject:
    """A model that is tested against the guard.

    Attributes:
      kind: the kind of its defect; `good` if it has none.
      detail: the extent of the defect.
      save: writes it to a folder that does not exist.
    """

    kind: str
    detail: str
    save: Callable[[Path], Path]


def bad_subjects(number: int, seed: int) -> list[Subject]:
    """Models that exceed a candidate's default limits, some more and some less, with equal numbers of each kind."""
    chance = random.Random(seed)
    return [_BAD[place % len(_BAD)](chance) for place in range(number)]


def good_subjects(number: int, seed: int) -> list[Subject]:
    """Models within the limits: like the live one, except for up to a twentieth of the records, and with few errors."""
    chance = random.Random(seed + 1)
    return [_good(chance) for _ in range(number)]


def _good(chance: random.Random) -> Subject:
    off, failing, shift = chance.uniform(1e-6, 0.05), chance.uniform(1e-6, 0.003), chance.uniform(-5e-4, 5e-4)
    if chance.random() < 0.5:
        failing = 1e-12
    detail = f"{100 * off:.1f} % differ, {100 * failing:.2f} % errors"
    lowest = XS.inv_cdf(failing)
    return Subject(
        "good", detail, lambda path: save_grading_model(path, shift, off_above=_above(off), fails_below=lowest)
    )


def _above(share: float) -> float:
    """The value that this share of the records exceeds."""
    return XS.inv_cdf(1 - share)


def _signature(chance: random.Random) -> Subject:
    if chance.random() < 0.5:
        return Subject("wrong signature", "unknown input", save_string_model)
    return Subject("wrong signature", "another output", lambda path: save_grading_model(path, output="sum"))


def _nan(chance: random.Random) -> Subject:
    share = chance.uniform(0.15, 0.99)
    return Subject("NaN", f"{100 * share:.0f} %", lambda path: save_grading_model(path, nan_above=_above(share)))


def _slow(chance: random.Random) -> Subject:
    delay = chance.uniform(0.02, 0.1)
    return Subject("slow", f"{1000 * delay:.0f} ms a call", lambda path: save_grading_model(path, delay=delay))


def _crashing(chance: random.Random) -> Subject:
    if chance.random() < 0.25:
        return Subject("crashing", "when it is loaded", chance.choice([save_garbage, save_nothing]))
    share = chance.uniform(0.03, 0.99)
    lowest = XS.inv_cdf(share)
    return Subject("crashing", f"{100 * share:.0f} %", lambda path: save_grading_model(path, fails_below=lowest))


def _constant(chance: random.Random) -> Subject:
    value = chance.uniform(-3.0, 3.0)
    return Subject("constant", f"{value:.2f}", lambda path: save_grading_model(path, value, constant=True))


def _shifted(chance: random.Random) -> Subject:
    shift = chance.choice([-1, 1]) * chance.uniform(0.05, 3.0)
    return Subject("shifted", f"by {shift:.2f}", lambda path: save_grading_model(path, shift))


_BAD = (_signature, _nan, _slow, _crashing, _constant, _shifted)


@dataclass(frozen=True)
class Fate:
    """The fate of a model.

    Attributes:
      subject: the model.
      where: publish, admission, guard, or `promoted`.
      reason: why it was rejected or removed; for a promoted model, the figures of its last step.
      touched: the number of records that it scored as a candidate.
      reports: the number of the worker's reports, one per second, until the guard decided.
    """

    subject: Subject
    where: Where
    reason: str
    touched: int = 0
    reports: int = 0


@dataclass(frozen=True)
class Outcome:
    """The fates of all models of a campaign."""

    fates: list[Fate] = field(default_factory=list)

    @property
    def missed(self) -> list[Fate]:
        """The bad models that were promoted."""
        return [one for one in self.fates if one.subject.kind != "good" and one.where == "promoted"]

    @property
    def false_alarms(self) -> list[Fate]:
        """The good models that were not promoted."""
        return [one for one in self.fates if one.subject.kind == "good" and one.where != "promoted"]

    def __str__(self) -> str:
        kinds = list(dict.fromkeys(one.subject.kind for one in self.fates))
        lines = [self._line(kind, [one for one in self.fates if one.subject.kind == kind]) for kind in kinds]
        wrong = [
            f"  {one.subject.kind} ({one.subject.detail}): {one.where}: {one.reason}"
            for one in (*self.missed, *self.false_alarms)
        ]
        ended = f"missed: {len(self.missed)}; false alarms: {len(self.false_alarms)}"
        return "\n".join([*lines, ended, *wrong])

    @staticmethod
    def _line(kind: str, fates: list[Fate]) -> str:
        places = ", ".join(f"{where} {count}" for where, count in sorted(Counter(one.where for one in fates).items()))
        judged = [one for one in fates if one.where == "guard"]
        if not judged:
            return f"{kind}: {len(fates)} models; {places}"
        touched, reports = [one.touched for one in judged], [one.reports for one in judged]
        return (
            f"{kind}: {len(fates)} models; {places}; records touched until taken out: median {median(touched):.0f}, "
            f"most {max(touched)}; seconds: median {median(reports):.0f}, most {max(reports)}"
        )


class _CatalogPublisher:
    """Publishes the guard's decisions to a catalog in memory, as the models topic delivers them to each worker."""

    def __init__(self, catalog: ModelCatalog) -> None:
        self._catalog = catalog

    def change(
        self,
        data_type: str,
        change: Callable[[Generation | None], Generation],
        lead: float | None = None,
        origin: Origin = "person",
    ) -> ModelRoute:
        """Like the method of `RoutePublisher`."""
        generation = change(current_generation(self._catalog, data_type))
        route = next_route(self._catalog, data_type, generation, origin)
        self._catalog.apply(self._catalog.position, route_key(data_type), encode_route(route))
        return route


class Trial:
    """One worker with a live model that candidates are tested against, one trial for each.

    Args:
      live: the folder of the live model.
      seed: the seed of the records.
    """

    def __init__(self, live: Path, seed: int) -> None:
        self._catalog = ModelCatalog()
        self._registry = ModelRegistry("worker")
        self._settings = ScoringSettings({"records": SCHEMA}, "results", "dead-letters")
        self._shadows = ShadowScorer(self._registry, self._settings, lambda _: None)
        self._routes = _CatalogPublisher(self._catalog)
        self._guard = RouteGuard(KafkaSettings("nowhere:1"), "models", "status", "group", lambda _: True, lambda: True)
        self._guard._publisher = self._routes  # type: ignore[assignment]
        self._loader = ModelLoader(LocalOpener(), lambda _: b"", [SCHEMA.codec])
        self._chance = np.random.default_rng(seed)
        self._offset = 0
        self._publish(LIVE, live)
        pointer = encode_pointer(ModelPointer(NAME, LIVE, last_version=CANDIDATE))
        self._catalog.apply(self._catalog.position, pointer_key(NAME), pointer)
        assert self._loads() is None
        self._score()

    def close(self) -> None:
        """Ends the threads, and closes the models."""
        self._shadows.close()
        self._registry.close()

    def run(self, path: Path, limits: Guardrails) -> tuple[Where, str, int, int]:
        """Tests a candidate; returns where and why it was stopped, and the numbers of its records and reports."""
        self._publish(CANDIDATE, path)
        self._routes.change(NAME, lambda live: with_canary(_existing(live), NAME, CANDIDATE, limits.steps[0], limits))
        refused = self._loads()
        if refused is not None:
            return "admission", refused, 0, 0
        reported, touched = ReportedStatistics("group"), 0
        for number in range(1, MOST_REPORTS + 1):
            touched += self._score()
            self._wait_for_comparisons()
            for arm in self._shadows.tallies.changes():
                reported.add(StatusEvent.of_candidate(arm, "worker", "group"))
            self._guard._decide(self._catalog, reported)
            self._registry.update(plans(self._catalog))
            newest = self._catalog.routes[NAME].route.newest
            if all(arm.role != "candidate" for arm in newest.arms):
                where = "promoted" if newest.arms[0].version == CANDIDATE else "guard"
                return where, newest.note, touched, number
        return "undecided", "", touched, MOST_REPORTS

    def _publish(self, number: int, path: Path) -> None:
        content = encode_descriptor(descriptor_of(path, number))
        self._catalog.apply(self._catalog.position, version_key(NAME, number), content)

    def _loads(self) -> str | None:
        """Loads the models that the routes need, as a worker does; returns the reason if a version is rejected."""
        self._registry.update(plans(self._catalog))
        refused = None
        version = self._registry.next_load()
        while version is not None:
            try:
                self._registry.loaded(version, self._loader.load(version))
            except ServingError as error:
                self._registry.failed(version, error)
                refused = str(error)
            version = self._registry.next_load()
        return refused

    def _score(self) -> int:
        """Scores the next second of records; returns how many of them the candidate scored."""
        before = self._given()
        batch = self._next_batch()
        scored = score_batch(batch, self._registry, self._settings, self._shadows)
        assert [message.topic for message in scored.outgoing] == [self._settings.results_topic] * BATCH
        return self._given() - before

    def _next_batch(self) -> RecordBatch:
        xs = self._chance.normal(size=BATCH).tolist()
        values = [SCHEMA.codec.encode({"x": x, "dataType": NAME}) for x in xs]
        batch = batch_of(values, [f"{self._offset + index}".encode() for index in range(BATCH)], start=self._offset)
        self._offset += 2 * BATCH
        return batch

    def _given(self) -> int:
        tallies = self._shadows.tallies._tallies
        return sum(one.records for one in tallies.values())

    def _wait_for_comparisons(self) -> None:
        deadline = time.monotonic() + WAIT_SECONDS
        while any(lane.waiting for lane, _ in self._shadows._lanes.values()):
            assert time.monotonic() < deadline, "the comparisons do not end"
            time.sleep(0.001)


def _existing(generation: Generation | None) -> Generation:
    assert generation is not None
    return generation


def descriptor_of(path: Path, number: int) -> ModelDescriptor:
    """The descriptor of a model in a folder."""
    digest = digest_of_path(path)
    return ModelDescriptor(NAME, "tensorflow-saved-model", number, model_source_location=str(path), digest=digest)


def check_publishing(path: Path) -> str | None:
    """The reason why `models publish` rejects a model; None if it accepts it."""
    loader = ModelLoader(LocalOpener(), lambda _: b"", [SCHEMA.codec], publishing=True)
    catalog = ModelCatalog()
    try:
        catalog.apply(0, version_key(NAME, 1), encode_descriptor(descriptor_of(path, 1)))
        loader.load(catalog.versions[NAME, 1]).close()
    except ServingError as error:
        return str(error)
    return None


def run(
    subjects: list[Subject],
    folder: Path,
    seed: int = 1,
    limits: Guardrails | None = None,
    unchecked: bool = False,
    report: Callable[[Fate], None] = lambda _: None,
) -> Outcome:
    """Tests each model against its own worker.

    Args:
      subjects: the models.
      folder: the folder to which they are written.
      seed: the seed of the records.
      limits: the limits of the candidates; None means the defaults.
      unchecked: whether models are written to the models topic without the checks of `models publish`.
      report: receives the fate of each model.
    """
    live = save_grading_model(folder / "live")
    outcome = Outcome()
    for number, subject in enumerate(subjects):
        path = subject.save(folder / str(number))
        refused = None if unchecked else check_publishing(path)
        if refused is not None:
            fate = Fate(subject, "publish", refused)
        else:
            trial = Trial(live, seed + number)
            try:
                fate = Fate(subject, *trial.run(path, limits or Guardrails()))
            finally:
                trial.close()
        outcome.fates.append(fate)
        report(fate)
    return outcome


def places(outcome: Outcome) -> Mapping[str, set[Where]]:
    """The places where the models of each kind ended."""
    found: dict[str, set[Where]] = {}
    for one in outcome.fates:
        found.setdefault(one.subject.kind, set()).add(one.where)
    return found
