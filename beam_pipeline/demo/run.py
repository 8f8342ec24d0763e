"""One run of the demo, from the broker to the summary."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rich.console import Console

from beam_pipeline.demo import USUAL_SECONDS
from beam_pipeline.demo.collector import Collector
from beam_pipeline.demo.dashboard_process import DashboardProcess, can_run, dashboard_arguments
from beam_pipeline.demo.picture import save_picture
from beam_pipeline.demo.pipeline_process import PipelineProcess, run_arguments
from beam_pipeline.demo.presentation import LivePresentation, PlainPresentation, Presentation
from beam_pipeline.demo.record_stream import RecordStream
from beam_pipeline.demo.scenario import Scenario
from beam_pipeline.demo.scoreboard import Scoreboard
from beam_pipeline.demo.snapshot import Snapshot
from beam_pipeline.demo.summary import draw_summary
from beam_pipeline.demo.topics import DemoTopics, embedded_topics, real_topics
from beam_pipeline.demo.trained_models import TrainedModels, trained_models
from beam_pipeline.demo.verdict import shortcomings
from beam_pipeline.demo.wine import load_wines
from models.errors import PipelineFailedError, ServingError
from models.kafka.client import KafkaSettings
from runners.local.prism import locate_prism

_FRAME_SECONDS = 0.25
_START_SECONDS = 180.0
_DRAIN_SECONDS = 15.0
_PICTURE_SECONDS = 2.5
_PIPELINE_LOG = "pipeline.log"
_DASHBOARD_LOG = "dashboard.log"


class DemoFailedError(ServingError):
    """Something in the demo did not happen as it should; the summary says what."""


@dataclass(frozen=True)
class DemoSettings:
    """The settings of the demo.

    Attributes:
      bootstrap_servers: the address of a real broker; None for the embedded one.
      seconds: the approximate duration of a pass.
      rate: records per second.
      forever: until Ctrl-C.
      plain: no live view.
      picture: where the view is saved when a model was refused.
      runner: what runs the pipeline, for the view.
      shares_files: whether the pipeline can read this machine's files, such as a model given by its location.
    """

    bootstrap_servers: str | None = None
    seconds: float = USUAL_SECONDS
    rate: int = 500
    forever: bool = False
    plain: bool = False
    picture: Path | None = None
    runner: str = "DirectRunner"
    shares_files: bool = True

    @property
    def subtitle(self) -> str:
        """What runs, in a few words."""
        kafka = "embedded Kafka" if self.bootstrap_servers is None else "your Kafka"
        return f"red wines, {self.rate}/s · {self.runner} · {kafka}"


class Pipeline(Protocol):
    """A running pipeline."""

    def check(self) -> None:
        """Raises PipelineFailedError when the pipeline has ended."""


@contextmanager
def work_folder(console: Console) -> Iterator[Path]:
    """Creates a temporary folder for logs, which is removed on success; otherwise its path is printed."""
    folder = Path(tempfile.mkdtemp(prefix="beam-serving-demo-"))
    try:
        yield folder
    except KeyboardInterrupt:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    except BaseException:
        if not (folder / _PIPELINE_LOG).exists():  # the pipeline did not start, so there are no logs worth keeping
            shutil.rmtree(folder, ignore_errors=True)
            raise
        console.print(f"The logs are in {folder}", markup=False, highlight=False, soft_wrap=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)


class Demo:
    """One run of the demo: starts and stops all its parts, in order.

    Args:
      settings: the settings of the demo.
      console: the console for all output.
      folder: the folder for logs and the broken model.
    """

    def __init__(self, settings: DemoSettings, console: Console, folder: Path) -> None:
        self._settings = settings
        self._console = console
        self._folder = folder
        self._wines = load_wines()
        self._scoreboard = Scoreboard(self._wines.held_out)
        self._dashboard: DashboardProcess | None = None
        self._pictured = settings.picture is None

    def run(self) -> None:
        """Runs the demo to its end, or to Ctrl-C.

        Raises:
          DemoFailedError: something did not happen as it should.
          ServingError: a part is missing, the pipeline dies, or a step of the scenario has no effect.
          KeyboardInterrupt: the demo is interrupted before the stream has started.
        """
        settings = self._settings
        with ExitStack() as stack:
            presentation = stack.enter_context(self._presentation())
            models = trained_models(presentation.report)
            locate_prism()
            created = real_topics(settings.bootstrap_servers) if settings.bootstrap_servers else embedded_topics()
            kafka, topics = stack.enter_context(created)
            presentation.report("Starting the pipeline")
            pipeline = PipelineProcess(run_arguments(kafka, topics), self._folder / _PIPELINE_LOG)
            stack.callback(pipeline.stop)
            self._start_dashboard(kafka, topics, stack)
            wrong = self._score(kafka, topics, pipeline, models, presentation)
            presentation.report("Stopping the pipeline")
        _refuse(wrong)

    def run_with(self, kafka: KafkaSettings, topics: DemoTopics, pipeline: Pipeline) -> None:
        """Runs the demo with a pipeline that runs already, on topics that are empty. Raises what `run` raises."""
        with ExitStack() as stack:
            presentation = stack.enter_context(self._presentation())
            models = trained_models(presentation.report)
            self._start_dashboard(kafka, topics, stack)
            wrong = self._score(kafka, topics, pipeline, models, presentation)
        _refuse(wrong)

    def _start_dashboard(self, kafka: KafkaSettings, topics: DemoTopics, stack: ExitStack) -> None:
        """Starts the dashboard, if it can run, until the end of the stack."""
        if can_run():
            self._dashboard = DashboardProcess(dashboard_arguments(kafka, topics), self._folder / _DASHBOARD_LOG)
            stack.callback(self._dashboard.stop)

    def _score(
        self,
        kafka: KafkaSettings,
        topics: DemoTopics,
        pipeline: Pipeline,
        models: TrainedModels,
        presentation: Presentation,
    ) -> list[str]:
        """Sends the stream while models change, and returns what went wrong."""
        settings, board = self._settings, self._scoreboard
        with ExitStack() as stack:
            collector = Collector(kafka, topics, board)
            stack.callback(collector.close)
            collector.start()
            stream = RecordStream(kafka, topics.records, self._wines.held_out, board, settings.rate)
            stack.callback(stream.close)
            self._await_first_result(stream, pipeline)
            scenario = Scenario(
                kafka,
                topics.models,
                models,
                self._folder,
                stream,
                board,
                settings.seconds,
                settings.forever,
                shares_files=settings.shares_files,
            )
            return self._play(scenario, stream, pipeline, presentation)

    def _presentation(self) -> Presentation:
        kind = PlainPresentation if self._settings.plain else LivePresentation
        return kind(self._console, self._settings.subtitle)

    def _await_first_result(self, stream: RecordStream, pipeline: Pipeline) -> None:
        """Sends one record ahead of the stream: once its result has arrived, the pipeline is up."""
        stream.send_one()
        deadline = time.monotonic() + _START_SECONDS
        while not self._scoreboard.wait_for(lambda snapshot: snapshot.answered > 0, _FRAME_SECONDS):
            pipeline.check()
            if time.monotonic() > deadline:
                raise PipelineFailedError(f"the pipeline produced no result within {_START_SECONDS:g} s")

    def _play(
        self, scenario: Scenario, stream: RecordStream, pipeline: Pipeline, presentation: Presentation
    ) -> list[str]:
        """Runs the stream and the scenario, shows them and the summary, and returns what went wrong."""
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
            wrong.append("it was stopped before its end")
        self._console.print(draw_summary(last, wrong))
        return wrong

    def _show(self, presentation: Presentation) -> None:
        snapshot = self._scoreboard.snapshot()
        presentation.show(snapshot, None if self._dashboard is None else self._dashboard.address)
        if not self._pictured and _refused_just_now(snapshot):
            self._pictured = True
            assert self._settings.picture is not None
            save_picture(snapshot, self._settings.subtitle, self._settings.picture)


def _refuse(wrong: Sequence[str]) -> None:
    if wrong:
        raise DemoFailedError(f"the demo did not run as expected: {'; '.join(wrong)}")


def _refused_just_now(snapshot: Snapshot) -> bool:
    return bool(snapshot.refusals) and snapshot.elapsed > snapshot.refusals[-1].at + _PICTURE_SECONDS
