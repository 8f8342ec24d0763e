"""Scores batches of records with the models that the side input says are current."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Literal

import apache_beam as beam

from models.records.batch import RecordBatch
from models.records.outgoing import OutgoingBatch, OutgoingMessage
from models.runner_facts import Firing
from models.serving.assembly import ScoringSettings, score_batch
from models.status.events import StatusEvent
from transforms.model_updates import LOOK_SECONDS, ModelUpdates, NewestPositions
from transforms.observing import Observing
from transforms.process_shared import ProcessShared
from transforms.serving_process import ModelsSettings, Serving

OnUpdate = Literal["swap", "wait"]

_REPORT_SECONDS = 1.0


class ScoreRecords(beam.PTransform):
    """Scores a PCollection of `RecordBatch`; emits one `OutgoingBatch` per batch, with one message per record.

    Args:
      updates: the updates of the models topic, which determine the current models.
      firing: how the runner fires the side input.
      models: where models are loaded from.
      scoring: where results go and what they look like.
      on_update: with "swap", the old model serves while the new one loads; with "wait", records wait for the new one.
      status_topic: the topic of status events; None if they are only logged and counted.
      observing: who is told what is measured; None for nobody.
    """

    def __init__(
        self,
        updates: ModelUpdates,
        firing: Firing,
        models: ModelsSettings,
        scoring: ScoringSettings,
        on_update: OnUpdate,
        status_topic: str | None,
        observing: Observing | None = None,
    ) -> None:
        super().__init__()
        self._updates = updates
        self._firing = firing
        self._score = ScoreBatch(models, scoring, on_update, status_topic, observing)

    def expand(self, batches: beam.PCollection[RecordBatch]) -> beam.PCollection[OutgoingBatch]:
        """Builds the step that scores."""
        score = beam.ParDo(self._score, self._updates.as_view(self._firing))
        return batches | "Score" >> score.with_output_types(OutgoingBatch)


class ScoreBatch(beam.DoFn):
    """Passes the newest position of the models topic to the process's follower, and scores with the loaded models.

    The first batches of a worker process wait until its follower has caught up with the topic's end and loaded the live
    models. After a restart, no record is therefore scored by an older model than before, or by no model at all.
    """

    def __init__(
        self,
        models: ModelsSettings,
        scoring: ScoringSettings,
        on_update: OnUpdate,
        status_topic: str | None,
        observing: Observing | None = None,
    ) -> None:
        self._models = models
        self._observing = observing or Observing()
        self._scoring = scoring
        self._on_update = on_update
        self._status_topic = status_topic
        self._shared: ProcessShared[Serving] = ProcessShared()

    def setup(self) -> None:
        """Starts the process's follower, unless another instance has done so."""
        self._newest = NewestPositions(seconds=0.0 if self._on_update == "wait" else LOOK_SECONDS)
        self._report_at = 0.0
        self._observed = self._observing.enter()
        observation = self._observed.observation
        self._serving = self._shared.enter(lambda: Serving.start(self._models, self._scoring, observation))

    def teardown(self) -> None:
        """Leaves the shared registry and follower; the last instance to leave closes them."""
        self._shared.leave()
        self._observing.leave()

    def _due(self) -> bool:
        """Whether the statistics of candidates are due, which are sent once a second."""
        now = time.monotonic()
        if now < self._report_at:
            return False
        self._report_at = now + _REPORT_SECONDS
        return True

    def process(self, element: RecordBatch, positions: Iterable[bytes]) -> Iterator[OutgoingBatch]:
        """Scores a batch, and emits its messages together with pending status events.

        Args:
          element: the records.
          positions: the side input, encoded positions of the models topic.
        """
        follower = self._serving.follower
        looks_first = self._on_update == "wait" or not self._serving.caught_up.is_set()
        if looks_first:
            follower.wait_current(self._newest.of(positions))
            self._serving.settle()
        else:
            follower.follow({})
        if len(element):
            follower.wait_fresh(int(element.timestamps.max()))
        observation = self._observed.observation
        scored = score_batch(element, self._serving.registry, self._scoring, self._serving.shadows, observation)
        self._observed.scoring.publish()
        events = list(self._events(element))
        yield replace(scored.outgoing, messages=events) if events else scored.outgoing
        if not looks_first:
            # Reading the side input asks the runner, and this thread waits for the answer. By now the results are on
            # their way to the broker, so that no record waits for it as well; an update takes longer to load anyway.
            follower.follow(self._newest.of(positions))

    def _events(self, batch: RecordBatch) -> Iterator[OutgoingMessage]:
        registry = self._serving.registry
        for event in registry.drain_events():
            if self._status_topic is not None:
                yield _message(self._status_topic, event)
        if self._status_topic is not None and self._due():
            for arm in self._serving.shadows.tallies.changes():
                event = StatusEvent.of_candidate(arm, registry.worker, registry.deployment)
                yield _message(self._status_topic, event)
        if batch.gap is not None and self._status_topic is not None:
            yield _message(self._status_topic, StatusEvent.of_gap(batch.gap, registry.worker, registry.deployment))


def _message(topic: str, event: StatusEvent) -> OutgoingMessage:
    return OutgoingMessage(topic, event.key, event.to_json())
