"""Checks that bytes are one complete value in Universal Binary JSON (ubjson.org), without interpreting it.

XGBoost does not check this: it ended the process for an empty model, and never returned for one that was cut off.
"""

from __future__ import annotations

from models.errors import ModelLoadError

_SIZES = {b"i": 1, b"U": 1, b"C": 1, b"I": 2, b"l": 4, b"d": 4, b"L": 8, b"D": 8, b"Z": 0, b"T": 0, b"F": 0, b"N": 0}
_INTEGERS = (b"i", b"U", b"I", b"l", b"L")
_TEXTS = (b"S", b"H")
_DEEPEST = 64


def check_ubjson(content: bytes) -> None:
    r"""Raises ModelLoadError unless the bytes are one complete value.

    >>> check_ubjson(b"{U\x01aS" + b"U\x01b}")
    >>> check_ubjson(b"{U\x01aS" + b"U\x01b")
    Traceback (most recent call last):
        ...
    models.errors.ModelLoadError: the model is cut off after 8 bytes
    """
    walk = _Walk(content)
    walk.value(walk.marker(), 0)
    if walk.place != len(content):
        raise ModelLoadError(f"{len(content) - walk.place} bytes follow the end of the model")


class _Walk:
    """A walk through the bytes; `place` is where the next part begins."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.place = 0

    def value(self, marker: bytes, depth: int) -> None:
        """Skips a value whose marker has been read."""
        if depth > _DEEPEST:
            raise ModelLoadError("the model is nested too deeply")
        if marker in _SIZES:
            self._take(_SIZES[marker])
        elif marker in _TEXTS:
            self._take(self._number(self.marker()))
        elif marker in (b"[", b"{"):
            self._container(marker == b"{", depth)
        else:
            raise ModelLoadError(f"byte {self.place - 1} of the model is not the start of a UBJSON value")

    def marker(self) -> bytes:
        """The next byte."""
        return self._take(1)

    def _container(self, named: bool, depth: int) -> None:
        marker, kind = self.marker(), b""
        if marker == b"$":
            kind, marker = self.marker(), self.marker()
            if marker != b"#":
                raise ModelLoadError(f"byte {self.place - 1} of the model should be a number of values, but is not")
        if marker == b"#":
            self._counted(self._number(self.marker()), kind, named, depth)
            return
        while marker != (b"}" if named else b"]"):
            if named:
                self._take(self._number(marker))
                marker = self.marker()
            self.value(marker, depth + 1)
            marker = self.marker()

    def _counted(self, count: int, kind: bytes, named: bool, depth: int) -> None:
        if kind in _SIZES and not named:
            self._take(count * _SIZES[kind])
            return
        for _ in range(count):
            if named:
                self._take(self._number(self.marker()))
            self.value(kind or self.marker(), depth + 1)

    def _number(self, marker: bytes) -> int:
        if marker not in _INTEGERS:
            raise ModelLoadError(f"byte {self.place - 1} of the model is not the start of a UBJSON number")
        return int.from_bytes(self._take(_SIZES[marker]), "big", signed=marker != b"U")

    def _take(self, size: int) -> bytes:
        end = self.place + size
        if size < 0 or end > len(self._content):
            raise ModelLoadError(f"the model is cut off after {len(self._content)} bytes")
        taken, self.place = self._content[self.place : end], end
        return taken
