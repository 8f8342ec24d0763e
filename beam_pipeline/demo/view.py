"""The live view: one screen, drawn from a snapshot. It fits into 80 x 24 characters and uses more if available."""

from __future__ import annotations

from rich.align import Align
from rich.console import RenderableType
from rich.layout import Layout
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from beam_pipeline.demo.snapshot import Event, Kind, Refusal, Snapshot, Tone, VersionLine

KIND_STYLES: dict[Kind | None, str] = {"weak": "yellow", "good": "green", "broken": "red", None: "bright_black"}
TONE_STYLES: dict[Tone, str] = {"plain": "", "good": "green", "bad": "bold red", "quiet": "bright_black"}
STATE_STYLES = {"serving": "bold green", "loading": "cyan", "refused": "bold red"}
MODELS_SHOWN = 4
_SPARKS = "▁▂▃▄▅▆▇█"
_CELL = "█"
_BAR_WIDTH = 12
_WIDE = 100


def draw(snapshot: Snapshot, subtitle: str, width: int, height: int, link: str | None = None) -> RenderableType:
    """Draws the whole screen.

    Args:
      snapshot: the state to show.
      subtitle: a line about what is running.
      width: the width of the terminal, in characters.
      height: the height of the terminal, in lines.
      link: the address of the dashboard; None if there is none.
    """
    inner = width - 4
    tall = height >= 30
    screen = Layout()
    screen.split_column(
        Layout(_headline(snapshot, subtitle, width), size=1),
        Layout(name="top", size=6 if tall else 5),
        Layout(_models(snapshot, width), size=MODELS_SHOWN + 3),
        Layout(_refused(snapshot, inner, 2 if tall else 1), size=6 if tall else 4),
        Layout(_events(snapshot.events, height - (20 if tall else 17) - 2, link), minimum_size=3),
    )
    screen["top"].split_row(
        Layout(_stream(snapshot, width // 2 - 4, tall), ratio=1),
        Layout(_scoring(snapshot, width // 2 - 4, tall), ratio=1),
    )
    return screen


def version_name(version: int | None) -> str:
    """The name of a version in the demo."""
    return "no model" if version is None else f"v{version}"


def milliseconds(value: float | None) -> str:
    """A latency, formatted for people."""
    return "–" if value is None else f"{value:.0f} ms" if value >= 10 else f"{value:.1f} ms"


def percent(share: float | None) -> str:
    """An accuracy, formatted for people."""
    return "–" if share is None else f"{share:.1%}"


def reason(refusal: Refusal) -> str:
    """The reason of a refusal on one line, without the name of the version, which is shown next to it."""
    return " ".join(refusal.reason.split()).removeprefix(f"model 'wine' version {refusal.version}: ")


def _headline(snapshot: Snapshot, subtitle: str, width: int) -> RenderableType:
    line = Table.grid(expand=True)
    line.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    line.add_column(justify="right", no_wrap=True)
    title = Text.assemble((" beam-serving demo ", "bold white on blue"), (f"  {subtitle}", "bright_black"))
    line.add_row(title, Text(f"{snapshot.elapsed:.0f} s ", "bold"))
    return line


def _stream(snapshot: Snapshot, width: int, tall: bool) -> RenderableType:
    grid = Table.grid(padding=(0, 1))
    grid.add_column(style="bright_black")
    grid.add_column(justify="right", style="bold")
    grid.add_column()
    for name, rate, rates in (
        ("in", snapshot.rate_in, snapshot.rates_in),
        ("out", snapshot.rate_out, snapshot.rates_out),
    ):
        grid.add_row(name, f"{rate:.0f}/s", Text(_sparkline(rates, width - 16), "cyan"))
    latency = Text.assemble(
        ("latency ", "bright_black"),
        ("p50 ", "bright_black"),
        (milliseconds(snapshot.recent_p50), "bold"),
        ("  p99 ", "bright_black"),
        (milliseconds(snapshot.recent_p99), "bold"),
    )
    rows: list[RenderableType] = [grid, latency]
    if tall:
        rows.append(Text(f"{snapshot.sent:,} sent, {snapshot.answered:,} answered", "bright_black"))
    return Panel(_stack(rows), title="Stream", title_align="left", border_style="blue")


def _scoring(snapshot: Snapshot, width: int, tall: bool) -> RenderableType:
    line = snapshot.line(snapshot.scoring) if snapshot.scoring != -1 else VersionLine(-1)
    if snapshot.scoring == -1:
        now = Text("nothing yet", "bright_black")
    elif snapshot.scoring is None:
        now = Text("no model", "bold")
    else:
        accuracy = f"  {percent(line.accuracy)} correct" if line.accuracy is not None else ""
        now = Text.assemble((f"wine v{line.version}", f"bold {KIND_STYLES[line.kind]}"), (accuracy, "bold"))
    cells = Text(no_wrap=True)
    for version in snapshot.timeline[-width:]:
        kind = snapshot.line(version).kind
        cells.append("·" if version == -1 else _CELL if version is not None else "░", KIND_STYLES[kind])
    legend = Text("one cell per second, by version", "bright_black", no_wrap=True, overflow="ellipsis")
    rows: list[RenderableType] = [now, cells, legend]
    if tall:
        rows.insert(1, Text(line.description or " ", "bright_black", no_wrap=True, overflow="ellipsis"))
    return Panel(_stack(rows), title="Scoring now", title_align="left", border_style="blue")


def _models(snapshot: Snapshot, width: int) -> RenderableType:
    wide = width >= _WIDE
    table = Table(box=None, expand=True, padding=(0, 1), header_style="bright_black", pad_edge=False)
    table.add_column("version", no_wrap=True)
    if wide:
        table.add_column("description", no_wrap=True, overflow="ellipsis", ratio=1)
    table.add_column("state", no_wrap=True)
    table.add_column("records", justify="right", no_wrap=True)
    table.add_column("accuracy on unseen rows", no_wrap=True)
    table.add_column("mean call", justify="right", no_wrap=True)
    for line in _shown(snapshot):
        table.add_row(*_model_row(snapshot, line, wide))
    return Panel(table, title="Models", title_align="left", border_style="blue")


def _shown(snapshot: Snapshot) -> list[VersionLine]:
    """The line of the records without a model, and those of the latest versions."""
    numbered = [line for line in snapshot.versions if line.version is not None]
    return [snapshot.line(None), *numbered[-(MODELS_SHOWN - 1) :]]


def _model_row(snapshot: Snapshot, line: VersionLine, wide: bool) -> list[RenderableType]:
    serving = line.version == snapshot.scoring and line.records > 0
    style = KIND_STYLES[line.kind]
    name = Text.assemble(("▶ " if serving else "  ", style), (version_name(line.version), f"bold {style}"))
    if line.kind and not wide:
        name.append(f" {line.kind}", style)
    described = [Text(line.description, "bright_black")] if wide else []
    if line.version is None:
        return [name, *described, Text(""), f"{line.records:,}", Text(""), Text("")]
    return [
        name,
        *described,
        Text(line.state, STATE_STYLES.get(line.state, "bright_black")),
        f"{line.records:,}",
        _accuracy(line, style),
        milliseconds(line.call_milliseconds),
    ]


def _accuracy(line: VersionLine, style: str) -> Text:
    if line.accuracy is None:
        return Text("–", "bright_black")
    filled = round(line.accuracy * _BAR_WIDTH)
    return Text.assemble(
        ("━" * filled, style), ("━" * (_BAR_WIDTH - filled), "bright_black"), (f" {percent(line.accuracy)}", "bold")
    )


def _refused(snapshot: Snapshot, width: int, lines: int) -> RenderableType:
    dead = snapshot.dead_records + snapshot.dead_descriptors
    letters = Text("no dead letters", "bright_black")
    if dead:
        letters = Text.assemble(
            (f"{dead} dead letter{'s' if dead > 1 else ''}", "bold yellow"),
            (f", the last: {' '.join(snapshot.dead_reason.split())}", ""),
        )
    model = Text("no model refused", "bright_black")
    if snapshot.refusals:
        last = snapshot.refusals[-1]
        tries = f", tried {last.tries} times" if last.tries > 1 else ""
        model = Text.assemble((f"v{last.version} refused{tries}", "bold red"), (f": {reason(last)}", ""))
    return Panel(
        _stack([_cut(model, width, lines), _cut(letters, width, lines)]),
        title="Refused",
        title_align="left",
        border_style="red" if snapshot.refusals else "blue",
    )


def _events(events: tuple[Event, ...], rows: int, link: str | None) -> RenderableType:
    grid = Table.grid(padding=(0, 1))
    grid.add_column(justify="right", style="bright_black", no_wrap=True, min_width=6)
    grid.add_column(no_wrap=True, overflow="ellipsis")
    for event in events[-max(1, rows) :]:
        grid.add_row(f"{event.at:.1f} s", Text(event.text, TONE_STYLES[event.tone]))
    address = None if link is None else Text.assemble("in the browser: ", (link, f"bold link {link}"))
    return Panel(
        Align(grid, vertical="top"),
        title="Events",
        title_align="left",
        subtitle=address,
        subtitle_align="right",
        border_style="blue",
    )


def _stack(rows: list[RenderableType]) -> Table:
    grid = Table.grid(expand=True)
    grid.add_column()
    for row in rows:
        grid.add_row(row)
    return grid


def _cut(text: Text, width: int, lines: int) -> Text:
    """Truncates a text to a number of lines."""
    text.truncate(width * lines - (lines - 1) * 8, overflow="ellipsis")
    return text


def _sparkline(values: tuple[int, ...], width: int) -> str:
    shown = values[-max(1, width) :]
    highest = max(shown, default=0)
    if not highest:
        return ""
    return "".join(_SPARKS[round(value / highest * (len(_SPARKS) - 1))] for value in shown)
