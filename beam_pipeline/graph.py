"""The whole graph, on one page."""

from __future__ import annotations

import apache_beam as beam

from beam_pipeline.options import ServingOptions
from models.runner_facts import Firing, Frontiers
from transforms.kafka_sink import WriteToKafka
from transforms.kafka_source import ReadFromKafka
from transforms.model_updates import ReadModelUpdates
from transforms.offset_commits import CommitOffsets, GroupOffsets
from transforms.scoring import ScoreRecords


def build(pipeline: beam.Pipeline, options: ServingOptions, firing: Firing, frontiers: Frontiers, run_id: str) -> None:
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
      run_id: names this pipeline in worker processes.
    """
    kafka, reading, letters = options.kafka(), options.reading(), options.dead_letter_topic
    records = pipeline | "Records" >> ReadFromKafka(options.records_topic, reading, options.pace(), run_id)
    updates = pipeline | "Models" >> ReadModelUpdates(options.models_topic, reading, letters, run_id)
    score = ScoreRecords(
        updates, firing, options.models(), options.scoring(), options.on_update, options.status_topic, run_id
    )
    scored = (
        records
        # Prism never runs a stage that holds both a source and a side input.
        | "Spread" >> beam.Reshuffle()
        | "Score" >> score
    )
    offsets = GroupOffsets(kafka, options.group, run_id)
    # Where all spans come to one process, the sinks commit: one bundle less for each batch.
    sink = WriteToKafka(kafka, letters, offsets if frontiers == "process" else None)
    acknowledged = (
        scored | "WriteResults" >> sink,
        updates.rejected | "WriteRejected" >> sink,
    )
    # Also where nothing comes this way: Prism spins for as long as a bundle takes that has no output at all.
    spans = acknowledged | "Acknowledged" >> beam.Flatten()
    if frontiers == "state":
        spans | "CommitOffsets" >> CommitOffsets(offsets)
