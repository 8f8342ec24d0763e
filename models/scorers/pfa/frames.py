"""The rows of a call, with the values of variables, and which rows have failed."""

from __future__ import annotations

import numpy as np

from models.scorers.pfa.columns import Bools, Column, Places


class Frame:
    """Some rows.

    Args:
      rows: the number of rows.
      parent: the frame from which the rows are taken; its variables are visible here.
      places: the parent's row for each row; rows may repeat.
    """

    def __init__(self, rows: int, parent: Frame | None = None, places: Places | None = None) -> None:
        self.rows = rows
        self.failed: Bools = np.zeros(rows, bool)
        self.first_error: tuple[int, str] | None = None
        self._variables: dict[int, Column] = {}
        self._parent = parent
        self._places = places

    def variable(self, slot: int) -> Column:
        """The value of a variable."""
        if slot not in self._variables:
            if self._parent is None or self._places is None:
                raise KeyError(slot)
            self._variables[slot] = self._parent.variable(slot).take(self._places)
        return self._variables[slot]

    def set(self, slot: int, column: Column) -> None:
        """Sets a variable."""
        self._variables[slot] = column

    def subset(self, places: Places) -> Frame:
        """A frame of some of the rows, which may repeat."""
        return Frame(len(places), self, places)

    def fail(self, rows: Bools, text: str) -> None:
        """Records a PFA error for those rows that do not have one yet."""
        new = rows & ~self.failed
        if not new.any():
            return
        self.failed |= new
        if self._parent is None:
            if self.first_error is None:
                self.first_error = (int(new.argmax()), text)
            return
        above = np.zeros(self._parent.rows, bool)
        above[self._places[new] if self._places is not None else new] = True
        self._parent.fail(above, text)
