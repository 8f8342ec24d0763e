"""A picture of the live view for the README: a self-contained SVG."""

from __future__ import annotations

import io
import re
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console

from beam_pipeline.demo.snapshot import Snapshot
from beam_pipeline.demo.view import draw

WIDTH, HEIGHT = 104, 30
# Rich's template loads a font from a server, which an image in a README may not do; the fallback font looks the same.
_FONT_FACES = re.compile(r"@font-face \{\{.*?\}\}\s*", re.DOTALL)


def save_picture(snapshot: Snapshot, subtitle: str, file: Path) -> None:
    """Writes the view of a snapshot to an SVG file."""
    console = Console(record=True, width=WIDTH, height=HEIGHT, file=io.StringIO(), color_system="truecolor")
    console.print(draw(snapshot, subtitle, WIDTH, HEIGHT), height=HEIGHT)
    svg = console.export_svg(title="beam-serving demo", code_format=_FONT_FACES.sub("", CONSOLE_SVG_FORMAT))
    file.write_text(svg, encoding="utf-8")
