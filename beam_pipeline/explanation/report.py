"""An explanation as a table for people."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group
from rich.table import Table
from rich.text import Text

from beam_pipeline.explanation.run import Answer
from models.explaining.attribution import Explanation, InputAttribution

_BAR = 30
_LONGEST_VALUE = 40


def explanation_table(answer: Answer, top: int) -> Group:
    """The explanation: the answer, the largest contributions with bars, and the sum of the others.

    Args:
      answer: the explanation.
      top: how many contributions are shown.
    """
    explanation = answer.explanation
    found = explanation.attributions
    table = Table("input", "value", "contribution", "")
    for column in (1, 2):
        table.columns[column].justify = "right"
    ordered = sorted(found.inputs, key=lambda one: -abs(one.attribution))
    largest = max((abs(one.attribution) for one in ordered), default=0.0)
    for one in ordered[:top]:
        table.add_row(one.name, _value(one), f"{one.attribution:+.4g}", _bar(one.attribution, largest))
    rest = ordered[top:]
    if rest:
        title = "1 other" if len(rest) == 1 else f"{len(rest)} others"
        table.add_row(title, "", f"{sum(one.attribution for one in rest):+.4g}", "")
    return Group(*_lines(explanation), table)


def _lines(explanation: Explanation) -> Iterator[Text]:
    found, model = explanation.attributions, explanation.model
    version = "" if model.version is None else f"/{model.version}"
    where = f"{explanation.record.topic}-{explanation.record.partition}@{explanation.record.offset}"
    yield Text(f"{where}  {model.name}{version}  {found.explained} = {found.prediction:.6g}")
    instead = f"{found.background} other records" if found.background else "zeros"
    yield Text(f"{found.base:.6g} with {instead} instead; the contributions are those to the difference")
    unexplained = f"; {found.unexplained:+.4g} is not explained" if not found.complete else ""
    yield Text(f"{found.method}, {found.calls} calls of the model, {found.rows} rows{unexplained}")


def _value(one: InputAttribution) -> str:
    if one.element is None:
        return "..."
    value = one.value
    if isinstance(value, bytes):
        value = value.decode("utf-8", "backslashreplace")
    text = f"{value:.6g}" if hasattr(value, "dtype") and value.dtype.kind == "f" else str(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 3]}..."


def _bar(attribution: float, largest: float) -> Text:
    """A bar as long as the contribution, in the colour of its sign."""
    length = round(_BAR * abs(attribution) / largest) if largest else 0
    return Text("█" * length, "green" if attribution > 0 else "red")
