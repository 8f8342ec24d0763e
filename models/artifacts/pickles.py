"""The pickles that a deployment loads, although loading one runs whatever code it contains."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from models.errors import OptionsError, PickleRefusedError
from models.model_topic.descriptor import ModelDescriptor

OPTION = "--allow-pickle"
PICKLE = "a pickle, and loading one runs whatever code it contains"
_DIGEST = "sha256:"
_HEX = re.compile(r"[0-9a-f]{64}")

# The first bytes of a pickle since protocol 2, and of the formats in which joblib compresses: zlib, gzip, bzip2, lzma,
# xz and lz4.
_STARTS = (b"\x80", b"\x78", b"\x1f\x8b", b"BZh", b"\x5d\x00", b"\xfd7zXZ", b"\x04\x22\x4d\x18")


@dataclass(frozen=True)
class AllowedPickles:
    """The pickles that the deployment names; none by default.

    Attributes:
      digests: the SHA-256 digests of published models, as 64 hexadecimal digits.
      names: the names of models all of whose versions may be pickles.
    """

    digests: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, text: str | None) -> AllowedPickles:
        """Reads the value of the option, which is a list of sha256:DIGEST and names, separated by commas.

        Raises:
          OptionsError: when a digest is malformed, or the list has an empty entry.

        >>> AllowedPickles.parse("wine,churn").names == {"wine", "churn"}
        True
        """
        digests, names = set(), set()
        for one in [] if text is None else [part.strip() for part in text.split(",")]:
            digest = one.removeprefix(_DIGEST).lower()
            if not one or (one.startswith(_DIGEST) and not _HEX.fullmatch(digest)):
                raise OptionsError(f"{OPTION} {one!r} is neither {_DIGEST} with 64 hexadecimal digits nor a name")
            if one.startswith(_DIGEST):
                digests.add(digest)
            else:
                names.add(one)
        return cls(frozenset(digests), frozenset(names))

    def check(self, descriptor: ModelDescriptor, digest: str, what: str = PICKLE) -> None:
        """Checks that a pickle may be loaded; call it before anything reads the pickle.

        Args:
          descriptor: the model's descriptor. A name allows only models that were published with a digest, so that
            write access to the model's location, without access to the models topic, is not enough to replace one.
          digest: the SHA-256 of the fetched model, which has been compared with that of the descriptor.
          what: what the model is, for the error message.

        Raises:
          PickleRefusedError: when the deployment does not allow it.
        """
        if digest in self.digests:
            return
        if descriptor.model_name not in self.names:
            raise PickleRefusedError(
                f"it is {what}. Save the model in another format; or, if you trust this file, allow it with {OPTION} "
                f"{_DIGEST}{digest} where you publish and for the deployment"
            )
        if descriptor.digest is None:
            raise PickleRefusedError(
                f"{OPTION} {descriptor.model_name} allows only pickles that were published with a digest; publish the "
                "model again with 'beam-serving models publish'"
            )


NO_PICKLES = AllowedPickles()


def is_pickle(path: Path) -> bool:
    """Whether a file looks like a pickle or joblib file; only its first bytes are read."""
    with path.open("rb") as file:
        return file.read(8).startswith(_STARTS)
