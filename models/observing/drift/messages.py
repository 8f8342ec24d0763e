"""The messages of the topic in which the workers of a deployment exchange their sketches.

It is compacted, so that it keeps the newest window of each worker, and the baseline and the last judgement of each
version. Profiles with many fields are sent in parts, because a message is limited to a megabyte.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from models.observing.drift.profile import Profile
from models.observing.drift.watch import Drifting

_FIELDS = 50


@dataclass(frozen=True)
class ModelVersion:
    """A version of a model in a deployment; 0 if a server did not name the version."""

    deployment: str
    model: str
    version: int

    def to_json(self) -> dict[str, Any]:
        """The version as JSON values."""
        return {"deployment": self.deployment, "model": self.model, "version": self.version}


@dataclass(frozen=True)
class WindowMessage:
    """What one worker has sketched in a window.

    Attributes:
      of: the version that answered.
      worker: the worker.
      start: the start of the window, in milliseconds since 1970-01-01 UTC.
      seconds: its length.
      profile: the sketches.
    """

    of: ModelVersion
    worker: str
    start: int
    seconds: int
    profile: Profile

    def encoded(self) -> Iterator[tuple[bytes, bytes]]:
        """The keys and values of its messages."""
        shared = {"type": "window", **self.of.to_json(), "worker": self.worker}
        for part, profile in enumerate(self.profile.parts(_FIELDS)):
            key = f"window/{self.of.deployment}/{self.worker}/{self.of.model}/{self.of.version}/{part}"
            window = {"start": self.start, "seconds": self.seconds, "profile": profile.to_json()}
            yield key.encode(), orjson.dumps({**shared, **window})


@dataclass(frozen=True)
class BaselineMessage:
    """A part of the baseline of a version; a later message replaces an earlier one for the same part."""

    of: ModelVersion
    part: int
    profile: Profile

    @classmethod
    def of_profile(cls, of: ModelVersion, profile: Profile) -> list[BaselineMessage]:
        """The messages for a baseline."""
        return [cls(of, part, one) for part, one in enumerate(profile.parts(_FIELDS))]

    def encoded(self) -> Iterator[tuple[bytes, bytes]]:
        """The key and value of the message."""
        key = f"baseline/{self.of.deployment}/{self.of.model}/{self.of.version}/{self.part}"
        content = {"type": "baseline", **self.of.to_json(), "part": self.part, "profile": self.profile.to_json()}
        yield key.encode(), orjson.dumps(content)


@dataclass(frozen=True)
class JudgedMessage:
    """Up to where the windows of a version have been judged, and what drifted in the last of them."""

    of: ModelVersion
    until: int
    drifting: frozenset[Drifting]
    figures: tuple[dict[str, Any], ...] = ()

    def encoded(self) -> Iterator[tuple[bytes, bytes]]:
        """The key and value of the message."""
        key = f"judged/{self.of.deployment}/{self.of.model}/{self.of.version}"
        content = {"type": "judged", **self.of.to_json(), "until": self.until, "drifting": sorted(self.drifting)}
        yield key.encode(), orjson.dumps({**content, "figures": self.figures})


SketchMessage = WindowMessage | BaselineMessage | JudgedMessage


def decode_sketches(value: bytes) -> SketchMessage:
    """Decodes a message; raises ValueError if it is malformed."""
    try:
        content = orjson.loads(value)
        of = ModelVersion(str(content["deployment"]), str(content["model"]), int(content["version"]))
        if content["type"] == "judged":
            drifting = frozenset((kind, field, measure) for kind, field, measure in content["drifting"])
            return JudgedMessage(of, int(content["until"]), drifting)
        profile = Profile.from_json(content["profile"])
        if content["type"] == "baseline":
            return BaselineMessage(of, int(content["part"]), profile)
        return WindowMessage(of, str(content["worker"]), int(content["start"]), int(content["seconds"]), profile)
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a message with sketches: {error!r}") from error
