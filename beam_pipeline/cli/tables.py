"""Prints tables."""

from __future__ import annotations

from rich.console import Console, RenderableType

_WIDTH_OF_A_FILE = 160


def print_table(table: RenderableType) -> None:
    """Prints a table or several, as wide as the terminal, or wide enough if stdout is a file or a pipe."""
    console = literal_console()
    if not console.is_terminal:
        console = literal_console(_WIDTH_OF_A_FILE)
    console.print(table)


def literal_console(width: int | None = None) -> Console:
    """A console that prints texts as they are: "[/x]" in a description is no markup, and ":x:" no emoji.

    Args:
      width: in characters; None for that of the terminal.
    """
    return Console(width=width, markup=False, emoji=False, highlight=False)
