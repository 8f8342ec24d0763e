"""The whole graph, on one page."""

from __future__ import annotations

import apache_beam as beam

from beam_pipeline.options import ServingOptions
from models.runner_facts import Firing, Frontiers
from transforms.kafka_sink import WriteToKafka
from transforms.kafka_source import ReadFromKafka
from transforms.model_updates import ReadModelUpdates
from transforms.offset_commits import CommitOffsets
from transforms.scoring import ScoreRecords


def build(pipeline: beam.Pipeline, options: ServingOptions, firing: Firing, frontiers: Frontiers) -> None:
    """Adds the serving graph to a pipeline.

        records ----> Spread ----> Score ----> WriteResults ---.
                                     |                          +--> CommitOffsets
        models --+-- positions ------'                          |
                  `- rejected ------------> WriteRejected -----'

    Args:
      pipeline: to be run by the runner that `firing` belongs to.
      options: checked.
      firing: how the side input of model updates fires.
      frontiers: where the frontiers of acknowledged offsets live.
    """
    kafka, reading, letters = options.kafka(), options.reading(), options.dead_letter_topic
    records = pipeline | "Records" >> ReadFromKafka(list(options.record_types()), reading, options.pace())
    updates = pipeline | "Models" >> ReadModelUpdates(options.models_topic, reading, letters)
    models, scoring = options.models(), options.scoring()
    score = ScoreRecords(updates, firing, models, scoring, options.on_update, options.status_topic)
    scored = (
        records
        # Prism never runs a stage that holds both a source and a side input.
        | "Spread" >> beam.Reshuffle()
        | "Score" >> score
    )
    acknowledged = (
        scored | "WriteResults" >> WriteToKafka(kafka, letters),
        updates.rejected | "WriteRejected" >> WriteToKafka(kafka, letters),
    )
    commit = CommitOffsets(kafka, options.group, frontiers)
    acknowledged | "Acknowledged" >> beam.Flatten() | "CommitOffsets" >> commit
