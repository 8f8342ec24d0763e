"""The output of the demo: a live view on a terminal, and lines elsewhere."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol

from rich.console import Console
from rich.live import Live
from rich.status import Status

from beam_pipeline.demo.snapshot import Snapshot
from beam_pipeline.demo.view import draw, milliseconds, percent, version_name

_LINE_SECONDS = 3.0


class Presentation(Protocol):
    """Shows the progress of the demo, as a context manager around the demo; only one thread calls it."""

    def report(self, text: str) -> None:
        """Reports what the demo is doing or waiting for, before and after the stream."""

    def show(self, snapshot: Snapshot, link: str | None = None) -> None:
        """Shows the current state and, if there is one, the address of the dashboard; called four times a second."""

    def __enter__(self) -> Presentation: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class LivePresentation:
    """The live view, on the terminal's alternate screen, which disappears at the end."""

    def __init__(self, console: Console, subtitle: str) -> None:
        self._console = console
        self._subtitle = subtitle
        self._status: Status | None = None
        self._live: Live | None = None

    def report(self, text: str) -> None:
        """Shows the text next to a spinner."""
        if self._status is None:
            self._status = self._console.status(text)
            self._status.start()
        self._status.update(text)

    def show(self, snapshot: Snapshot, link: str | None = None) -> None:
        """Draws the screen."""
        self._end_status()
        if self._live is None:
            self._live = Live(console=self._console, screen=True, auto_refresh=False)
            self._live.start()
        width, height = self._console.size
        self._live.update(draw(snapshot, self._subtitle, width, height, link), refresh=True)

    def _end_status(self) -> None:
        if self._status is not None:
            self._status.stop()
            self._status = None

    def __enter__(self) -> LivePresentation:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end_status()
        if self._live is not None:
            self._live.stop()


class PlainPresentation:
    """Prints events as they happen, and a line of figures every few seconds."""

    def __init__(self, console: Console, subtitle: str) -> None:
        self._console = console
        self._subtitle = subtitle
        self._last_event = -1.0
        self._next_line = 0.0
        self._linked = False

    def report(self, text: str) -> None:
        """Prints the text."""
        self._print(text)

    def show(self, snapshot: Snapshot, link: str | None = None) -> None:
        """Prints the address of the dashboard once, new events and, when it is time, the figures."""
        if not self._next_line:
            self._print(self._subtitle)
        if link is not None and not self._linked:
            self._print(f"the dashboard is at {link}")
            self._linked = True
        for event in snapshot.events:
            if event.at > self._last_event:
                self._print(f"{event.at:5.1f} s  {event.text}")
                self._last_event = event.at
        if snapshot.elapsed >= self._next_line:
            self._next_line = snapshot.elapsed + _LINE_SECONDS
            self._print(f"{snapshot.elapsed:5.1f} s  {figures(snapshot)}")

    def _print(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def __enter__(self) -> PlainPresentation:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


def figures(snapshot: Snapshot) -> str:
    """The current figures on one line."""
    parts = [
        f"in {snapshot.rate_in:.0f}/s",
        f"out {snapshot.rate_out:.0f}/s",
        f"p50 {milliseconds(snapshot.recent_p50)}",
        f"p99 {milliseconds(snapshot.recent_p99)}",
    ]
    if snapshot.scoring != -1:
        line = snapshot.line(snapshot.scoring)
        accuracy = f", {percent(line.accuracy)} correct" if line.accuracy is not None else ""
        parts.append(f"scoring: {version_name(line.version)}{accuracy}")
    return "  ".join(parts)
