"""The whole graph, on one page."""

from __future__ import annotations

import apache_beam as beam

from beam_pipeline.options import ServingOptions
from models.runner_facts import BeamMetricsForm, Firing, Frontiers
from transforms.kafka_sink import WriteToKafka
from transforms.kafka_source import ReadFromKafka
from transforms.model_updates import ReadModelUpdates
from transforms.observing import Observing
from transforms.offset_commits import CommitOffsets, GroupOffsets
from transforms.scoring import ScoreRecords


def build(
    pipeline: beam.Pipeline,
    options: ServingOptions,
    firing: Firing,
    frontiers: Frontiers,
    metrics: BeamMetricsForm = "none",
) -> None:
    """Adds the serving graph to a pipeline.

        records ----> Spread ----> Score ----> WriteResults ---.
                                     |                          +--> CommitOffsets
        models --+-- positions ------'                          |
                  `- rejected ------------> WriteRejected -----'

    Args:
      pipeline: the pipeline to add to; it must run on the runner that `firing` describes.
      options: the options of the deployment, already checked.
      firing: how the side input of model updates fires on that runner.
      frontiers: where the runner keeps the frontiers of acknowledged offsets.
      metrics: how much of what is measured becomes Beam's own metrics.
    """
    kafka, reading, letters = options.kafka(), options.reading(), options.dead_letter_topic
    observing = Observing(options.observation(), metrics)
    source = ReadFromKafka(list(options.record_types()), reading, options.pace(), observing=observing)
    records = pipeline | "Records" >> source
    updates = pipeline | "Models" >> ReadModelUpdates(options.models_topic, reading, letters, observing)
    models, scoring = options.models(), options.scoring()
    score = ScoreRecords(updates, firing, models, scoring, options.on_update, options.status_topic, observing)
    scored = (
        records
        # The reshuffle keeps the source out of the stage with the side input: Prism never schedules a stage that has
        # both.
        | "Spread" >> beam.Reshuffle()
        | "Score" >> score
    )
    offsets = GroupOffsets(kafka, options.group)
    # If all spans arrive in one process, the sinks commit the offsets, which saves a bundle for each batch.
    sink = WriteToKafka(kafka, options.dead_letters(), offsets if frontiers == "process" else None, observing)
    acknowledged = (
        scored | "WriteResults" >> sink,
        updates.rejected | "WriteRejected" >> sink,
    )
    # Needed even if nothing consumes it: Prism spins for the whole duration of a bundle that has no output at all.
    spans = acknowledged | "Acknowledged" >> beam.Flatten()
    if frontiers == "state":
        spans | "CommitOffsets" >> CommitOffsets(offsets)
