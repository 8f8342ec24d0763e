"""What the models topic contains: messages together with their offsets."""

from __future__ import annotations

from dataclasses import dataclass, replace

from models.model_topic.descriptor import ModelDescriptor, ModelPointer
from models.model_topic.route import ModelRoute


@dataclass(frozen=True)
class PublishedVersion:
    """A version in the models topic.

    Attributes:
      descriptor: the descriptor without the model's bytes.
      offset: the offset of its message.
      inline: whether that message contains the model's bytes.
      bare: whether its message is keyed by the bare name; if so, compaction deletes it after a pointer was written.
    """

    descriptor: ModelDescriptor
    offset: int
    inline: bool
    bare: bool = False

    @property
    def label(self) -> str:
        """NAME/VERSION, for logs and listings."""
        return f"{self.descriptor.model_name}/{self.descriptor.model_version}"

    def same_model(self, other: PublishedVersion | None) -> bool:
        """Whether both describe the same model; one that was published again, unchanged, counts as the same."""
        return other is not None and self.inline == other.inline and _timeless(self) == _timeless(other)


def _timeless(version: PublishedVersion) -> ModelDescriptor:
    return replace(version.descriptor, published_at=0)


@dataclass(frozen=True)
class PublishedPointer:
    """A pointer in the models topic, and the offset of the message that set it."""

    pointer: ModelPointer
    offset: int


@dataclass(frozen=True)
class PublishedRoute:
    """A route in the models topic, and the offset of its message."""

    route: ModelRoute
    offset: int
