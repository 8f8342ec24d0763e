"""Fetches a published model, wherever it is, and checks that it is the published one: the first step of every load."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from models.artifacts.background import in_background
from models.artifacts.digest import digest_of_bytes, digest_of_path
from models.errors import DigestMismatchError, ModelLoadError
from models.model_topic.descriptor import ModelDescriptor


class Opener(Protocol):
    """Reads model locations. The caller provides one, so that scorers do not depend on any file system."""

    def download(self, location: str, folder: Path) -> Path:
        """Copies `location`, a file or a folder with everything below it, into `folder`; returns the copy's path.

        Raises:
          ModelLoadError: when the location cannot be read; the message names it.
        """


@dataclass(frozen=True)
class FetchedModel:
    """A published model on this machine.

    Attributes:
      digest: SHA-256 of the published data, as 64 hexadecimal digits.
      content: the bytes of an inline model, or the path of the copy of a file or folder.
    """

    digest: str
    content: bytes | Path


def fetch_model(descriptor: ModelDescriptor, content: bytes | None, opener: Opener, folder: Path) -> FetchedModel:
    """Fetches the model of a descriptor, unless its bytes are already available, and checks its digest.

    A model at a location is copied and hashed in the background (`models.artifacts.background`).

    Args:
      descriptor: the descriptor, with the location, and with the digest if the publisher computed one.
      content: the bytes of an inline model; None if the model has a location.
      opener: reads the location.
      folder: where the copy goes.

    Raises:
      DigestMismatchError: when the fetched model differs from the published one.
      ModelLoadError: when the location is missing or cannot be read.
    """
    if content is not None:
        return _checked(descriptor, FetchedModel(digest_of_bytes(content), content))
    if descriptor.model_source_location is None:
        raise ModelLoadError("the descriptor has neither bytes nor a location; publish the model again")
    return in_background(partial(_fetch, descriptor, descriptor.model_source_location, opener, folder))


def _fetch(descriptor: ModelDescriptor, location: str, opener: Opener, folder: Path) -> FetchedModel:
    path = opener.download(location, folder)
    return _checked(descriptor, FetchedModel(digest_of_path(path), path))


def _checked(descriptor: ModelDescriptor, fetched: FetchedModel) -> FetchedModel:
    expected = descriptor.digest
    if expected is not None and expected.lower() != fetched.digest:
        raise DigestMismatchError(
            f"the digest of the fetched model is {fetched.digest}, but the descriptor's is {expected}; publish the "
            "model again"
        )
    return fetched
