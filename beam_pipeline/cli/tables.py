"""Prints tables."""

from __future__ import annotations

from rich.console import Console, RenderableType

_WIDTH_OF_A_FILE = 160


def print_table(table: RenderableType) -> None:
    """Prints a table or several, as wide as the terminal, or wide enough if stdout is a file or a pipe."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=_WIDTH_OF_A_FILE)
    console.print(table)
