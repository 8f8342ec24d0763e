"""Measures contenders in turns, and compares their figures."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Compared:
    """The figures of several contenders, measured in turns: a list for each contender, in the order of the turns."""

    title: str
    unit: str
    figures: dict[str, list[float]]

    def table(self) -> list[str]:
        """Lines with each contender's minimum, median and maximum, and its ratio to the first one, turn by turn."""
        base = next(iter(self.figures))
        lines = [
            f"{self.title} ({self.unit})",
            f"  {'':16}{'min':>10}{'median':>10}{'max':>10}{'  ratio to ' + base:>26}",
        ]
        for name, values in self.figures.items():
            ratios = [value / other for value, other in zip(values, self.figures[base], strict=True)]
            shown = f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"
            middle = statistics.median(values)
            lines.append(f"  {name:16}{min(values):10.1f}{middle:10.1f}{max(values):10.1f}{shown:>26}")
        return lines


def in_turns(names: Sequence[str], turns: int, measure: Callable[[str], list[float]]) -> dict[str, list[list[float]]]:
    """Measures each contender once per turn, so that a drift of the machine affects all of them."""
    figures: dict[str, list[list[float]]] = {name: [] for name in names}
    for turn in range(turns):
        for name in names:
            figures[name].append(measure(name))
            shown = ", ".join(f"{value:.1f}" for value in figures[name][-1])
            print(f"  turn {turn + 1} of {turns}: {name}: {shown}", flush=True)
    return figures
