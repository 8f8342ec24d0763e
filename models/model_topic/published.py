"""What the models topic contains: messages together with their offsets."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

from models.model_topic.descriptor import ModelDescriptor, ModelPointer
from models.model_topic.route import ModelRoute

Identity: TypeAlias = tuple[object, ...]


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

    @cached_property
    def identity(self) -> Identity:
        """Equal for versions of the same model; one published again, unchanged, counts as the same."""
        one = self.descriptor
        return (
            self.inline,
            one.model_name,
            one.model_version,
            one.model_type,
            one.description,
            one.model_source_location,
            one.data_type,
            one.signature,
            tuple(sorted(one.inputs.items())),
            tuple(sorted(one.outputs.items())),
            one.digest,
            tuple(sorted(one.options.items())),
            one.golden,
            one.baseline,
        )

    def same_model(self, other: PublishedVersion | None) -> bool:
        """Whether both describe the same model."""
        return other is not None and self.identity == other.identity


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
