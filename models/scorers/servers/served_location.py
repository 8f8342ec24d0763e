"""Locations of models on servers: their syntax in each protocol, and their parsed parts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote

from models.errors import ModelLoadError


@dataclass(frozen=True)
class Address:
    """The host and port on which a server listens."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@dataclass(frozen=True)
class ServedModel:
    """A model on a server, as described by its location.

    Attributes:
      secure: whether the connection uses TLS.
      addresses: the addresses of the replicas, at least one.
      model: the name of the model on the server.
      version: the version that the location pins, if any; `label` is None then.
      label: the server's name for one of the versions.
      prefix: the part of a REST path before /v1/models; empty or "/...".
    """

    secure: bool
    addresses: tuple[Address, ...]
    model: str
    version: int | None = None
    label: str | None = None
    prefix: str = ""


@dataclass(frozen=True)
class LocationForm:
    """The syntax of the locations of one protocol.

    Attributes:
      schemes: the scheme of plain connections, and that of connections over TLS.
      path: a regular expression with the groups `model` and `label`, and optionally `version` and `prefix`.
      example: the syntax as shown in the error for a malformed location.
      ports: the default ports by scheme.
    """

    schemes: tuple[str, str]
    path: str
    example: str
    ports: Mapping[str, int] = field(default_factory=dict)

    def parse(self, location: str | None) -> ServedModel:
        """Parses a location.

        Raises:
          ModelLoadError: it is malformed, or missing because the model was published inline.
        """
        if location is None:
            raise ModelLoadError(f"a model on a server needs a modelSourceLocation: {self.example}")
        plain, secure = self.schemes
        whole = re.fullmatch(rf"({plain}|{secure})://([^/]+)(/.*)", location)
        path = whole and re.fullmatch(self.path, whole[3])
        if not whole or not path:
            raise ModelLoadError(f"location {location!r} is not of the form {self.example}")
        parts = path.groupdict()
        return ServedModel(
            secure=whole[1] == secure,
            addresses=tuple(self._address(text, whole[1], location) for text in whole[2].split(",")),
            model=unquote(parts["model"]),
            version=None if parts.get("version") is None else int(parts["version"]),
            label=None if parts["label"] is None else unquote(parts["label"]),
            prefix=parts.get("prefix") or "",
        )

    def _address(self, text: str, scheme: str, location: str) -> Address:
        match = re.fullmatch(r"(?:\[([0-9a-fA-F:.]+)\]|([^:@\[\]\s]+))(?::([0-9]{1,5}))?", text)
        port = int(match[3]) if match and match[3] else self.ports.get(scheme)
        if not match or port is None or not 0 < port < 65536:
            raise ModelLoadError(f"location {location!r}: {text!r} is not HOST:PORT; the form is {self.example}")
        return Address(match[1] or match[2], port)
