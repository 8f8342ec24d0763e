"""Publishes the version that an alias of a registry points to, unless it is live already."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from beam_pipeline.publishing.drafts import Draft, check_draft, differences, draft_descriptor
from models.artifacts.pickles import AllowedPickles
from models.errors import PublishError
from models.locations import resolve_location
from models.model_topic.publisher import ModelPublisher
from models.records.record_type import RecordType


class Change(Enum):
    """The change that a check of an alias led to."""

    NOTHING = "is live"
    PROMOTED = "was published before, and is live again"
    PUBLISHED = "is published and live"


@dataclass(frozen=True)
class AliasCheck:
    """The result of checking an alias.

    Attributes:
      version: our number of the version, not the registry's.
      location: the location that the alias points to.
    """

    version: int
    location: str
    change: Change

    def __str__(self) -> str:
        return f"version {self.version} {self.change.value}, from {self.location}"


class AliasPublisher:
    """Makes a model's live version the one that an alias points to. Not thread-safe.

    The alias decides: a version that was rolled back by hand is live again after the next check. A published version
    is reused if its location and everything else in the draft are unchanged; otherwise a new one is published.

    Args:
      draft: the draft of the model; its location is the alias.
      topic: publishes to the models topic.
      record_type: the type of the records to check the model against; None if it is not known.
      pickles: the pickles that may be loaded.
    """

    def __init__(
        self, draft: Draft, topic: ModelPublisher, record_type: RecordType | None, pickles: AllowedPickles
    ) -> None:
        self._draft = draft
        self._topic = topic
        self._record_type = record_type
        self._pickles = pickles
        self._refused: dict[str, str] = {}

    def check(self) -> AliasCheck:
        """Checks the alias once, and publishes or promotes a version if necessary.

        Raises:
          PublishError: the model cannot serve. It is not tried again until the alias points elsewhere.
          ModelLoadError: the registry cannot be reached, or has no such alias.
          ModelsTopicError, KafkaUnreachableError: the topic cannot be used.
        """
        location = resolve_location(self._draft.location or "")
        catalog = self._topic.read()
        pointer = catalog.pointers.get(self._draft.name)
        live = None if pointer is None else pointer.pointer.live_version
        same = [
            number
            for (name, number), version in catalog.versions.items()
            if name == self._draft.name and not differences(self._draft, version.descriptor, location)
        ]
        if live in same:
            return AliasCheck(live, location, Change.NOTHING)
        if same:
            self._topic.rollback(self._draft.name, max(same))
            return AliasCheck(max(same), location, Change.PROMOTED)
        return AliasCheck(self._publish(location), location, Change.PUBLISHED)

    def _publish(self, location: str) -> int:
        if location in self._refused:
            raise PublishError(self._refused[location])
        draft = replace(self._draft, location=location)
        descriptor = draft_descriptor(draft)
        try:
            check_draft(draft, descriptor, self._record_type, self._pickles)
        except PublishError as error:
            self._refused = {location: str(error)}
            raise
        return self._topic.publish(descriptor).model_version
