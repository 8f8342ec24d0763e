"""Prints tables."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

_WIDTH_OF_A_FILE = 160


def print_table(table: Table) -> None:
    """Prints a table as wide as the terminal, or wide enough for its content when stdout is a file or a pipe."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=_WIDTH_OF_A_FILE)
    console.print(table)
