"""What `beam-serving run` does before it builds the pipeline, against a real broker."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from beam_pipeline.cli.commands.run import check_topics
from beam_pipeline.options import ServingOptions
from runners.local.kafka_broker import LocalBroker
from tests.conftest import MakeTopic

Names = Callable[[str], str]


@pytest.fixture
def options(broker: LocalBroker, make_topic: MakeTopic, topic_names: Names) -> ServingOptions:
    """Options with a topic for each of the samples."""
    records, models = make_topic(topic_names("records")), make_topic(topic_names("models"), cleanup_policy="compact")
    results, letters = topic_names("results"), topic_names("letters")
    return ServingOptions(
        broker.bootstrap_servers,
        records,
        models,
        results,
        letters,
        "wine",
        payload_topic=topic_names("payloads"),
        explain_topic=topic_names("explanations"),
    )


def created(options: ServingOptions) -> set[str | None]:
    existing = options.kafka().admin().list_topics(timeout=10.0).topics
    wanted = (options.results_topic, options.dead_letter_topic, options.payload_topic, options.explain_topic)
    return {topic for topic in wanted if topic in existing}


def test_a_topic_of_samples_is_created_only_if_there_are_any(options: ServingOptions) -> None:
    check_topics(options)
    assert created(options) == {options.results_topic, options.dead_letter_topic}
    check_topics(replace(options, payload_share=0.1))
    assert options.payload_topic in created(options)
    check_topics(replace(options, explain_share=0.1))
    assert options.explain_topic in created(options)
