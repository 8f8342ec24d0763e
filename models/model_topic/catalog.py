"""The catalog of current models: a fold over the messages of the models topic, in the order of its one partition.

The same messages produce the same catalog in every process, and applying a message twice changes nothing. The
position in the topic therefore identifies the catalog: two workers that have applied everything below the same
position have the same catalog.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from models.errors import DescriptorError
from models.model_topic.descriptor import ModelDescriptor, ModelPointer, decode_message, parse_key
from models.model_topic.names import routed_data_type
from models.model_topic.published import PublishedPointer, PublishedRoute, PublishedVersion
from models.model_topic.route_encoding import decode_route

CatalogMessage = tuple[int, bytes | None, bytes | None]
"""The offset, the key and the value of a message of the models topic."""


class ModelCatalog:
    """The versions and pointers in the messages applied so far. Not thread-safe.

    Attributes:
      position: all messages below this offset have been applied.
      versions: the published versions, by model name and number.
      pointers: the current pointer of each model, by model name.
      routes: the current route of each data type that has one.
    """

    def __init__(self) -> None:
        self.position = 0
        self.versions: dict[tuple[str, int], PublishedVersion] = {}
        self.pointers: dict[str, PublishedPointer] = {}
        self.routes: dict[str, PublishedRoute] = {}

    def apply(self, offset: int, key: bytes | None, value: bytes | None) -> None:
        """Applies the message at `offset`, unless it was applied already.

        Raises:
          DescriptorError: the message is malformed; it then changes nothing but the position.
        """
        if offset < self.position:
            return
        self.position = offset + 1
        data_type = routed_data_type(key)
        if data_type is not None:
            self._route(data_type, value, offset)
            return
        name, version = parse_key(key)
        if not value:
            self._delete(name, version)
            return
        message = decode_message(value)
        if message.model_name != name:
            raise DescriptorError(f"the message keyed {name!r} is about model {message.model_name!r}")
        if isinstance(message, ModelPointer):
            self._point(version, PublishedPointer(message, offset))
        elif version is None:
            self._bare(message.numbered(offset), offset)
        else:
            self._add(message, version, offset)

    def apply_all(self, messages: Sequence[CatalogMessage]) -> list[tuple[int, DescriptorError]]:
        """Applies messages in order. Malformed ones change nothing, and are returned with their offsets.

        A route that a later one in the list replaces is skipped: each contains its earlier generations, so decoding all
        of them would take quadratic time.
        """
        errors = []
        replaced = self._replaced(messages)
        for offset, key, value in messages:
            if offset in replaced:
                self.skip_to(offset + 1)
                continue
            try:
                self.apply(offset, key, value)
            except DescriptorError as error:
                errors.append((offset, error))
        return errors

    def _replaced(self, messages: Sequence[CatalogMessage]) -> set[int]:
        """The offsets of routes that a later message in the list replaces or deletes; a malformed one does neither."""
        counts = Counter(routed_data_type(key) for _, key, _ in messages)
        settled: set[str] = set()
        found = set()
        for offset, key, value in reversed(messages):
            data_type = routed_data_type(key)
            if data_type is None or counts[data_type] == 1:  # the usual case: nothing needs to be decoded twice
                continue
            if data_type in settled:
                found.add(offset)
            elif not value or _is_route_of(data_type, value):
                settled.add(data_type)
        return found

    def skip_to(self, position: int) -> None:
        """Moves the position forward to `position`, past offsets that hold no message because of compaction."""
        self.position = max(self.position, position)

    def candidates(self) -> dict[str, tuple[PublishedVersion, ...]]:
        """The versions that may score the records of each data type, in order of preference.

        The model whose pointer was set last comes first, with its live version and then the one live before it. The
        other live models of the data type follow in the same way. Retired models and deleted versions are omitted.
        """
        found: dict[str, list[PublishedVersion]] = {}
        for published in sorted(self.pointers.values(), key=lambda one: -one.offset):
            for version in self._live(published.pointer):
                found.setdefault(version.descriptor.data_type, []).append(version)
        return {data_type: tuple(versions) for data_type, versions in found.items()}

    def last_version(self, name: str) -> int:
        """The highest version number of this model that the topic still records; 0 for an unknown model."""
        numbers = [number for known, number in self.versions if known == name]
        if name in self.pointers:
            pointer = self.pointers[name].pointer
            numbers += [pointer.last_version, pointer.live_version or 0, pointer.previous_version or 0]
        return max(numbers, default=0)

    def _live(self, pointer: ModelPointer) -> Iterator[PublishedVersion]:
        """The live version, then the previous one if it scores the same records."""
        if pointer.live_version is None:
            return
        numbers = (pointer.live_version, pointer.previous_version or 0)
        found = (self.versions.get((pointer.model_name, number)) for number in numbers)
        known = [version for version in found if version is not None]
        yield from (one for one in known if one.descriptor.data_type == known[0].descriptor.data_type)

    def live(self, name: str) -> tuple[PublishedVersion, ...]:
        """The live version of a model, then the previously live one; empty if the model is retired or unknown."""
        published = self.pointers.get(name)
        return () if published is None else tuple(self._live(published.pointer))

    def _route(self, data_type: str, value: bytes | None, offset: int) -> None:
        if not value:
            self.routes.pop(data_type, None)
            return
        route = decode_route(value)
        if route.data_type != data_type:
            raise DescriptorError(f"the message keyed route/{data_type} is the route of {route.data_type!r}")
        self.routes[data_type] = PublishedRoute(route.at(offset), offset)

    def _delete(self, name: str, version: int | None) -> None:
        if version is None:
            self.pointers.pop(name, None)
        else:
            self.versions.pop((name, version), None)

    def _point(self, version: int | None, published: PublishedPointer) -> None:
        name = published.pointer.model_name
        if version is not None:
            raise DescriptorError(f"the message keyed {name}/{version} is a pointer; its key must be {name!r}")
        self.pointers[name] = published

    def _add(self, descriptor: ModelDescriptor, version: int, offset: int) -> None:
        if descriptor.model_version not in (0, version):
            raise DescriptorError(
                f"the message keyed {descriptor.model_name}/{version} holds version {descriptor.model_version}"
            )
        numbered = replace(descriptor, model_version=version)
        self.versions[numbered.model_name, version] = _published(numbered, offset)

    def _bare(self, descriptor: ModelDescriptor, offset: int) -> None:
        """Adds a version and makes it live, unless it is older than the live one."""
        name, number = descriptor.model_name, descriptor.model_version
        self.versions[name, number] = replace(_published(descriptor, offset), bare=True)
        known = self.pointers.get(name)
        live = known.pointer.live_version if known else None
        if live is not None and number < live:
            return
        previous = live
        if known and live == number:
            previous = known.pointer.previous_version
        pointer = ModelPointer(name, number, previous, self.last_version(name), descriptor.published_at)
        self.pointers[name] = PublishedPointer(pointer, offset)


def _published(descriptor: ModelDescriptor, offset: int) -> PublishedVersion:
    return PublishedVersion(descriptor.without_bytes(), offset, descriptor.model_bytes is not None)


def _is_route_of(data_type: str, value: bytes) -> bool:
    try:
        return decode_route(value).data_type == data_type
    except DescriptorError:
        return False
