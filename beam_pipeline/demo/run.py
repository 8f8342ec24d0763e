"""One run of the demo, from the broker to the summary."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from beam_pipeline.demo import USUAL_SECONDS
from beam_pipeline.demo.collector import Collector
from beam_pipeline.demo.picture import save_picture
from beam_pipeline.demo.pipeline_process import PipelineProcess, run_arguments
from beam_pipeline.demo.presentation import LivePresentation, PlainPresentation, Presentation
from beam_pipeline.demo.record_stream import RecordStream
from beam_pipeline.demo.scenario import Scenario
from beam_pipeline.demo.scoreboard import Scoreboard
from beam_pipeline.demo.snapshot import Snapshot
from beam_pipeline.demo.summary import draw_summary
from beam_pipeline.demo.topics import embedded_topics, real_topics
from beam_pipeline.demo.trained_models import trained_models
from beam_pipeline.demo.verdict import shortcomings
from beam_pipeline.demo.wine import load_wines
from models.errors import PipelineFailedError, ServingError
from runners.local.prism import locate_prism

_FRAME_SECONDS = 0.25
_START_SECONDS = 180.0
_DRAIN_SECONDS = 15.0
_PICTURE_SECONDS = 2.5
_PIPELINE_LOG = "pipeline.log"


class DemoFailedError(ServingError):
    """Not everything happened as it should; the summary says what."""


@dataclass(frozen=True)
class DemoSettings:
    """What the demo can be told.

    Attributes:
      bootstrap_servers: of a real broker; None: the embedded one.
      seconds: that a pass takes, about.
      rate: records a second.
      forever: until Ctrl-C.
      plain: no live view.
      picture: where the view is saved when a model was refused.
    """

    bootstrap_servers: str | None = None
    seconds: float = USUAL_SECONDS
    rate: int = 500
    forever: bool = False
    plain: bool = False
    picture: Path | None = None

    @property
    def subtitle(self) -> str:
        """Says what runs."""
        kafka = "embedded Kafka" if self.bootstrap_servers is None else "your Kafka"
        return f"red wines, {self.rate}/s · DirectRunner · {kafka}"


@contextmanager
def work_folder(console: Console) -> Iterator[Path]:
    """A temporary folder for logs: it goes when all went well, and is named when not."""
    folder = Path(tempfile.mkdtemp(prefix="beam-serving-demo-"))
    try:
        yield folder
    except KeyboardInterrupt:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    except BaseException:
        if not (folder / _PIPELINE_LOG).exists():  # then there is nothing in it to learn from
            shutil.rmtree(folder, ignore_errors=True)
            raise
        console.print(f"The logs are in {folder}", markup=False, highlight=False, soft_wrap=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)


class Demo:
    """Everything that runs, and the order in which it starts and ends.

    Args:
      settings: what it was told.
      console: where it shows itself.
      folder: for logs and the broken model.
    """

    def __init__(self, settings: DemoSettings, console: Console, folder: Path) -> None:
        self._settings = settings
        self._console = console
        self._folder = folder
        self._wines = load_wines()
        self._scoreboard = Scoreboard(self._wines.held_out)
        self._pictured = settings.picture is None

    def run(self) -> None:
        """Runs it to its end, or to Ctrl-C.

        Raises:
          DemoFailedError: when not everything happened as it should.
          ServingError: when something cannot be had, the pipeline dies, or a step of the scenario has no effect.
          KeyboardInterrupt: when it is interrupted before the stream has begun.
        """
        settings, board = self._settings, self._scoreboard
        with ExitStack() as stack:
            presentation = stack.enter_context(self._presentation())
            models = trained_models(presentation.say)
            locate_prism()
            topics_made = real_topics(settings.bootstrap_servers) if settings.bootstrap_servers else embedded_topics()
            kafka, topics = stack.enter_context(topics_made)
            presentation.say("Starting the pipeline")
            pipeline = PipelineProcess(run_arguments(kafka, topics), self._folder / _PIPELINE_LOG)
            stack.callback(pipeline.stop)
            collector = Collector(kafka, topics, board)
            stack.callback(collector.close)
            collector.start()
            stream = RecordStream(kafka, topics.records, self._wines.held_out, board, settings.rate)
            stack.callback(stream.close)
            self._await_first_result(stream, pipeline)
            scenario = Scenario(
                kafka, topics.models, models, self._folder, stream, board, settings.seconds, settings.forever
            )
            wrong = self._play(scenario, stream, pipeline, presentation)
            presentation.say("Stopping the pipeline")
        if wrong:
            raise DemoFailedError(f"not everything happened as it should: {'; '.join(wrong)}")

    def _presentation(self) -> Presentation:
        kind = PlainPresentation if self._settings.plain else LivePresentation
        return kind(self._console, self._settings.subtitle)

    def _await_first_result(self, stream: RecordStream, pipeline: PipelineProcess) -> None:
        """One record goes ahead: when its result is there, the pipeline is up."""
        stream.send_one()
        deadline = time.monotonic() + _START_SECONDS
        while not self._scoreboard.wait_for(lambda snapshot: snapshot.answered > 0, _FRAME_SECONDS):
            pipeline.check()
            if time.monotonic() > deadline:
                raise PipelineFailedError(f"the pipeline gave no result in {_START_SECONDS:g} s")

    def _play(
        self, scenario: Scenario, stream: RecordStream, pipeline: PipelineProcess, presentation: Presentation
    ) -> list[str]:
        """Lets the stream flow and the scenario happen, shows both, and then the summary."""
        board, interrupted = self._scoreboard, False
        board.begin()
        stream.start()
        scenario.start()
        try:
            while not scenario.ended.wait(_FRAME_SECONDS):
                self._show(presentation)
                pipeline.check()
        except KeyboardInterrupt:
            interrupted = True
        finally:
            scenario.close()
        if scenario.failure is not None:
            raise scenario.failure
        stream.close()
        board.wait_for(lambda snapshot: not snapshot.waiting, _DRAIN_SECONDS)
        self._show(presentation)
        presentation.__exit__(None, None, None)
        last = board.snapshot()
        wrong = shortcomings(last, scenario.passes)
        if interrupted and not self._settings.forever:
            wrong.append("stopped before its end")
        self._console.print(draw_summary(last, wrong))
        return wrong

    def _show(self, presentation: Presentation) -> None:
        snapshot = self._scoreboard.snapshot()
        presentation.show(snapshot)
        if not self._pictured and _refused_just_now(snapshot):
            self._pictured = True
            assert self._settings.picture is not None
            save_picture(snapshot, self._settings.subtitle, self._settings.picture)


def _refused_just_now(snapshot: Snapshot) -> bool:
    return bool(snapshot.refusals) and snapshot.elapsed > snapshot.refusals[-1].at + _PICTURE_SECONDS
