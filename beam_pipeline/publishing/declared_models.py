"""Brings the models topic to what a file declares about models, with as few changes as possible."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from beam_pipeline.publishing.drafts import check_draft, differences, draft_descriptor
from beam_pipeline.publishing.inspection import Inspection
from beam_pipeline.publishing.model_file import DeclaredModel, DeclaredVersion
from models.artifacts.pickles import AllowedPickles
from models.errors import PublishError
from models.locations import resolve_location
from models.model_topic.catalog import ModelCatalog
from models.model_topic.descriptor import ModelDescriptor
from models.model_topic.publisher import ModelPublisher, next_version
from models.records.record_type import RecordType
from models.scorers import runs_in_process


@dataclass(frozen=True)
class ModelPlan:
    """The changes that make a model what a file declares.

    Attributes:
      name: the model's name.
      new: the versions to publish, in the order of their numbers.
      before, after: the live version before and after the changes; None for a model without one.
    """

    name: str
    new: tuple[DeclaredVersion, ...]
    before: int | None
    after: int | None

    def lines(self) -> Iterator[str]:
        """The changes, for people.

        >>> list(ModelPlan("wine", (), 1, None).lines()), list(ModelPlan("wine", (), 1, 1).lines())
        (['wine: live version 1 -> none'], ['wine: unchanged'])
        """
        if not self.new and self.before == self.after:
            yield f"{self.name}: unchanged"
        for version in self.new:
            yield f"{self.name}: new version {version.number}, from {version.draft.location}"
        if self.before != self.after:
            yield f"{self.name}: live version {self.before or 'none'} -> {self.after or 'none'}"


def plan_model(catalog: ModelCatalog, model: DeclaredModel) -> ModelPlan:
    """The changes from what the topic contains to a declared model. Versions that a file does not name are kept.

    Raises:
      PublishError: a version was published with other attributes, its number was assigned before, or the version that
        should be live does not exist.
      ModelLoadError: a location cannot be resolved.
    """
    new = []
    for version in model.versions:
        published = catalog.versions.get((model.name, version.number))
        if published is None:
            next_version(catalog, model.name, version.number)
            new.append(version)
        else:
            _check_same(version, published.descriptor)
    pointer = catalog.pointers.get(model.name)
    before = None if pointer is None else pointer.pointer.live_version
    after = before if model.live == "unchanged" else model.live
    numbers = {number for name, number in catalog.versions if name == model.name} | {one.number for one in new}
    if after is not None and after not in numbers and after != before:
        existing = ", ".join(map(str, sorted(numbers))) or "none"
        raise PublishError(f"model {model.name!r}: version {after} should be live; existing versions: {existing}")
    return ModelPlan(model.name, tuple(new), before, after)


def _check_same(version: DeclaredVersion, published: ModelDescriptor) -> None:
    draft = version.draft
    location = draft.location or ""
    if runs_in_process(draft.model_type):
        location = resolve_location(location)
    differing = differences(draft, published, location)
    if not differing:
        return
    what = ", ".join(name.removeprefix("model_").replace("_", " ") for name in differing)
    moved = f" ({published.model_source_location}, not {location})" if "model_source_location" in differing else ""
    raise PublishError(
        f"model {draft.name!r}: version {version.number} was published with another {what}{moved}; a version never "
        "changes, so declare a new one"
    )


class DeclaredModels:
    """Publishes declared models. Not thread-safe.

    Args:
      topic: publishes to the models topic.
      record_type: the type of the records to check models against; None if it is not known.
      pickles: the pickles that may be loaded.
    """

    def __init__(self, topic: ModelPublisher, record_type: RecordType | None, pickles: AllowedPickles) -> None:
        self._topic = topic
        self._record_type = record_type
        self._pickles = pickles
        self._checked: dict[tuple[str, int], ModelDescriptor] = {}

    def plans(self, models: Sequence[DeclaredModel]) -> list[ModelPlan]:
        """The changes of all models; raises as `plan_model` does, or because the topic cannot be read."""
        catalog = self._topic.read()
        return [plan_model(catalog, model) for model in models]

    def check(self, plan: ModelPlan) -> Iterator[Inspection]:
        """Loads each new version as a worker would, and describes it.

        Raises:
          PublishError: a model cannot serve.
          ModelLoadError: a model cannot be read.
        """
        for version in plan.new:
            descriptor = draft_descriptor(version.draft)
            yield check_draft(version.draft, descriptor, self._record_type, self._pickles)
            self._checked[plan.name, version.number] = descriptor

    def carry_out(self, plan: ModelPlan) -> None:
        """Publishes the new versions, all of which were checked, and sets the live version.

        Raises:
          PublishError: another publisher was faster, or a message is too large.
        """
        live = plan.before
        for version in plan.new:
            is_live = version.number == plan.after
            self._topic.publish(self._checked[plan.name, version.number], is_live, version.number)
            live = version.number if is_live else live
        if live != plan.after:
            if plan.after is None:
                self._topic.retire(plan.name)
            else:
                self._topic.rollback(plan.name, plan.after)
