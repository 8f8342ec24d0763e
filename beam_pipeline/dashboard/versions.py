"""The versions that the charts show: each has a number and a colour, and there is room for a bounded number of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass

from models.text import clean_text

COLOURS = 8
"""How many colours the page has for versions, besides the neutral one."""

MOST_VERSIONS = 24
_LABEL_LIMIT = 80


@dataclass(frozen=True)
class ShownVersion:
    """A version in the charts.

    Attributes:
      number: identifies it in the series of the charts.
      label: NAME/VERSION, `no model`, or `others`.
      colour: the place of its colour among those of the page; None for the neutral one.
      model, version: the model's name and version; None if the answers name none.
    """

    number: int
    label: str
    colour: int | None
    model: str | None = None
    version: int | None = None


OTHERS = ShownVersion(0, "others", None)
NO_MODEL = ShownVersion(1, "no model", None)


class ShownVersions:
    """Numbers versions as they answer for the first time.

    When there is no room, the versions that are no longer in use make room; if all are in use, a new one is among the
    others.

    Args:
      in_use: returns the numbers of the versions that the charts still show.
    """

    def __init__(self, in_use: Callable[[], Collection[int]]) -> None:
        self._in_use = in_use
        self._known: dict[tuple[str, int | None], ShownVersion] = {}
        self._next = NO_MODEL.number + 1

    def of(self, model: str | None, version: int | None) -> ShownVersion:
        """The version that a result names."""
        if model is None:
            return NO_MODEL
        known = self._known.get((model, version))
        if known is not None:
            return known
        if len(self._known) >= MOST_VERSIONS:
            in_use = self._in_use()
            self._known = {key: one for key, one in self._known.items() if one.number in in_use}
            if len(self._known) >= MOST_VERSIONS:
                return OTHERS
        label = clean_text(model if version is None else f"{model}/{version}", _LABEL_LIMIT)
        added = ShownVersion(self._next, label, self._free_colour(), model, version)
        self._known[model, version] = added
        self._next += 1
        return added

    def all(self) -> list[ShownVersion]:
        """The known versions, in the order in which they came."""
        return [OTHERS, NO_MODEL, *self._known.values()]

    def _free_colour(self) -> int:
        """The colour that the fewest versions have; of those, the one after the last that was given."""
        used = Counter(one.colour for one in self._known.values())
        after = (self._next - NO_MODEL.number - 1) % COLOURS
        order = [(after + place) % COLOURS for place in range(COLOURS)]
        return min(order, key=lambda colour: used[colour])
