"""Results as lines on the terminal."""

from __future__ import annotations

from typing import Any

import pytest

from beam_pipeline.cli.commands.results import line

METADATA = {
    "topic": "records",
    "partition": 0,
    "offset": 7,
    "startTime": 1_700_000_000_000_000,
    "duration": 1_500,
    "batchSize": 3,
    "modelName": "loan",
    "modelVersion": None,
    "errors": None,
}


def shown(values: list[Any], shape: list[int]) -> str:
    outputs = {"decision": {"shape": shape, "values": values}}
    return line("k", {"modelResultMetadata": METADATA, "outputs": outputs})


def test_a_line_names_the_record_the_model_and_the_outputs() -> None:
    assert shown([0.25, 0.5], [2]) == ("22:13:20.000000  records-0@7  key=k  loan  1.5 ms for 3  decision[2]=0.25 0.5")


@pytest.mark.parametrize(
    ("value", "text"), [(b"approve", "approve"), ("größer".encode(), "größer"), (b"\xff", r"\xff"), (True, "True")]
)
def test_text_is_shown_as_text_and_other_bytes_as_escapes(value: Any, text: str) -> None:
    assert shown([value], []).endswith(f"decision[]={text}")
