"""Reads XML safely into elements, which reject everything that is unknown.

A file with a document type is rejected, because only a document type can declare entities; so nothing is expanded or
fetched. Extensions are ignored, as the standard allows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn
from xml.parsers import expat

from models.errors import ModelLoadError

MOST_BYTES = 256 << 20
MOST_DEPTH = 200
MOST_ELEMENTS = 10_000_000

_NAMESPACE = "http://www.dmg.org/PMML-4_"


@dataclass(frozen=True)
class Element:
    """An element of the file, without extensions.

    Attributes:
      tag: its name.
      attributes: its attributes by name.
      children: its children in document order.
      text: all of its own text.
      line: the line on which it starts, counted from 1.
    """

    tag: str
    attributes: Mapping[str, str]
    children: tuple[Element, ...]
    text: str
    line: int

    def refuse(self, reason: str) -> NoReturn:
        """Raises ModelLoadError for this element."""
        raise ModelLoadError(f"line {self.line}, {self.tag}: {reason}")

    def check(self, attributes: str = "", children: str = "") -> None:
        """Raises ModelLoadError for an attribute or child that is not one of these, separated by blanks."""
        for name in self.attributes:
            if name not in attributes.split():
                self.refuse(f"attribute {name!r} is not supported")
        for child in self.children:
            if child.tag not in children.split():
                child.refuse(f"it is not supported in {self.tag}")

    def get(self, name: str) -> str | None:
        """An attribute; None if there is none."""
        return self.attributes.get(name)

    def need(self, name: str) -> str:
        """An attribute; raises ModelLoadError if there is none."""
        if name not in self.attributes:
            self.refuse(f"attribute {name!r} is missing")
        return self.attributes[name]

    def choice(self, name: str, values: str, default: str | None = None) -> str:
        """An attribute that is one of these values; raises ModelLoadError if it is not."""
        value = self.attributes.get(name, default) or self.need(name)
        if value not in values.split():
            self.refuse(f"{name}={value!r} is not supported; supported are {', '.join(values.split())}")
        return value

    def number(self, name: str, default: float | None = None) -> float:
        """An attribute that is a finite number; raises ModelLoadError if it is not."""
        if default is not None and name not in self.attributes:
            return default
        return self.as_number(self.need(name))

    def as_number(self, text: str) -> float:
        """A text of this element as a finite number; raises ModelLoadError if it is not one."""
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            self.refuse(f"{text!r} is not a finite number")
        return value

    def all(self, *tags: str) -> list[Element]:
        """The children with these names."""
        return [child for child in self.children if child.tag in tags]

    def find(self, *tags: str) -> Element | None:
        """The only child with one of these names, or None; raises ModelLoadError if there are several."""
        found = self.all(*tags)
        if len(found) > 1:
            found[1].refuse(f"{self.tag} may have only one")
        return found[0] if found else None

    def only(self, *tags: str) -> Element:
        """The only child with one of these names; raises ModelLoadError if there is none."""
        found = self.find(*tags)
        if found is None:
            self.refuse(f"it lacks {' or '.join(tags)}")
        return found

    def texts(self) -> list[str]:
        """The items of an Array, which are separated by blanks, and may be in quotes."""
        self.check("n type")
        items = _array_items(self.text)
        if "n" in self.attributes and self.number("n") != len(items):
            self.refuse(f"n is {self.need('n')}, but it has {len(items)} items")
        return items

    def numbers(self) -> list[float]:
        """The items of an Array of numbers."""
        return [self.as_number(item) for item in self.texts()]


def read_elements(content: bytes) -> Element:
    """The root of an XML file.

    Raises:
      ModelLoadError: it is not well-formed, too large or too deep, or has a document type.
    """
    if len(content) > MOST_BYTES:
        raise ModelLoadError(f"the file has {len(content)} bytes; the limit is {MOST_BYTES}")
    builder = _Builder()
    try:
        builder.parser.Parse(content, True)
    except (expat.ExpatError, LookupError, ValueError) as error:
        raise ModelLoadError(f"the file is not XML, or is cut off: {error}") from error
    return builder.root[0]


@dataclass
class _Open:
    tag: str
    attributes: dict[str, str]
    line: int
    children: list[Element] = field(default_factory=list)
    text: list[str] = field(default_factory=list)


class _Builder:
    """Collects the elements while expat parses the file."""

    def __init__(self) -> None:
        self.parser: Any = expat.ParserCreate(namespace_separator=" ")
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text
        self.parser.StartDoctypeDeclHandler = self._doctype
        self.parser.buffer_text = True
        self.root: list[Element] = []
        self._open: list[_Open] = []
        self._ignored = 0
        self._count = 0

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._count += 1
        depth = len(self._open) + self._ignored
        line = self.parser.CurrentLineNumber
        if depth >= MOST_DEPTH or self._count > MOST_ELEMENTS:
            raise ModelLoadError(f"line {line}: more than {MOST_DEPTH} levels or {MOST_ELEMENTS} elements")
        namespace, _, tag = name.rpartition(" ")
        if self._ignored or (tag == "Extension" and self._open):
            self._ignored += 1
            return
        in_table = bool(self._open) and self._open[-1].tag == "row"  # whose cells may have their own namespace
        if not namespace.startswith(_NAMESPACE) and not in_table:
            where = f"in namespace {namespace!r}" if namespace else "in no namespace"
            raise ModelLoadError(f"line {line}: {tag[:100]} is {where[:200]}; a model in PMML 4 is expected")
        # Attributes with a namespace, such as the location of the schema, are not part of the standard.
        own = {key: value for key, value in attributes.items() if " " not in key}
        self._open.append(_Open(tag, own, line))

    def _end(self, _: str) -> None:
        if self._ignored:
            self._ignored -= 1
            return
        done = self._open.pop()
        element = Element(done.tag, done.attributes, tuple(done.children), "".join(done.text), done.line)
        (self._open[-1].children if self._open else self.root).append(element)

    def _text(self, text: str) -> None:
        if not self._ignored and self._open:
            self._open[-1].text.append(text)

    def _doctype(self, *_: object) -> None:
        raise ModelLoadError("the file has a document type (DOCTYPE), which could declare entities; remove it")


def _array_items(text: str) -> list[str]:
    r"""The items of an array.

    >>> _array_items('ab  "a b" "with \\"quotes\\"" ""')
    ['ab', 'a b', 'with "quotes"', '']
    """
    if '"' not in text:
        return text.split()
    items, place = [], 0
    while place < len(text):
        if text[place].isspace():
            place += 1
            continue
        item, quoted = [], text[place] == '"'
        place += quoted
        while place < len(text) and not (text[place] == '"' if quoted else text[place].isspace()):
            place += text[place] == "\\" and text[place + 1 : place + 2] == '"'
            item.append(text[place])
            place += 1
        place += quoted
        items.append("".join(item))
    return items
