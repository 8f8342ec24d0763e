"""Serialized examples: models that take features, and models that parse the examples themselves, side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from beam_pipeline.cli.command_line import main
from models.kafka.client import KafkaSettings
from runners.local.kafka_broker import LocalBroker
from tests.end_to_end.conftest import make_deployment
from tests.end_to_end.deployment import Deployment
from tests.saved_models import save_example_model

pytest.importorskip("tfx_bsl", reason="tfx-bsl exists for Python 3.11 and later")

SaveVersion = Callable[..., Path]
SCHEMA = """
feature { name: "amount" type: FLOAT shape {} presence { min_fraction: 1 } }
feature { name: "items" type: INT value_count { min: 0 } }
feature { name: "dataType" type: BYTES shape {} }
"""


@pytest.fixture(scope="module")
def cards(broker: LocalBroker, prism_location: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """The deployment of this module, running, with a schema file."""
    folder = tmp_path_factory.mktemp("cards")
    schema = folder / "cards.pbtxt"
    schema.write_text(SCHEMA)
    deployment = make_deployment(
        KafkaSettings(broker.bootstrap_servers),
        prism_location,
        str(schema),
        folder,
        record_format="tf-example",
        options={"record-schema": str(schema)},
    )
    try:
        deployment.start()
        deployment.score({"amount": 0.0})
        yield deployment
    finally:
        deployment.close()


def test_features_and_whole_examples_are_scored_and_the_malformed_are_dead_letters(
    cards: Deployment, version_model: SaveVersion, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cards.publish("cards", version_model(1), {"x": ("amount",)})
    cards.publish("parsing", save_example_model(tmp_path / "model"), {}, inline=False)
    cards.status("serving", "cards", 1)
    cards.status("serving", "parsing", 1)
    encode = cards.schema.codec.encode
    values = [
        encode({"amount": 1.5, "items": [1, 2]}),
        b"\xff",
        encode({"amount": 2.5, "dataType": "parsing"}),
        encode({"amount": 3.5})[:-1],
        b"",
        encode({"amount": 4.5, "dataType": "parsing"}),
    ]
    offsets = cards.send_bytes(values)
    by_fields, first, second = cards.results_of([offsets[0], offsets[2], offsets[5]])
    assert [one.error for one in (by_fields, first, second)] == [None] * 3
    assert by_fields.values("version") == [1]
    assert (first.values("doubled"), second.values("doubled")) == ([5.0], [9.0])
    assert [one.embedded for one in (by_fields, first, second)] == [values[0], values[2], values[5]]
    letters = cards.dead_letters([offsets[1], offsets[3], offsets[4]])
    assert {offset: letter.value for offset, letter in letters.items()} == {
        offsets[place]: values[place] for place in (1, 3, 4)
    }
    assert "feature 'amount' is missing" in letters[offsets[4]].reason
    shown = shown_results(cards, capsys)
    assert '"inputRecord": {"amount": 1.5, "items": [1, 2], "dataType": null}' in shown


def shown_results(deployment: Deployment, capsys: pytest.CaptureFixture[str]) -> str:
    """The output of `beam-serving results --json`."""
    given = {
        "bootstrap-servers": deployment.kafka.bootstrap_servers,
        "results-topic": deployment.topic("results"),
        "record-schema": deployment.options["record-schema"],
        "record-format": "tf-example",
    }
    assert main(["results", "--json", *(f"--{name}={value}" for name, value in given.items())]) == 0
    return capsys.readouterr().out
