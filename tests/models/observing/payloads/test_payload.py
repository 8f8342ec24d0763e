"""What is taken of an answered batch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from models.columns.outputs import RecordOutputs
from models.columns.scored import ScoredRecords
from models.observing.payloads.payload import field_arrays, payloads_of
from models.serving.calling import no_answer
from tests.models.observing.payloads.answers import Lengths, answered, every, record


def test_each_chosen_record_has_its_inputs_and_outputs() -> None:
    batch = answered([record(0.25, 2), record(0.75, 3), record(1, 4)], start=10)
    first, last = payloads_of(batch, np.array([True, False, True]))
    assert (first.coordinates, first.timestamp, first.data_type) == ("records-3-10", 1010, "m")
    assert (last.coordinates, last.timestamp) == ("records-3-14", 1014)
    assert first.inputs.signature == "predict"
    assert first.inputs.arrays["v"].tolist() == [[0.25, 2.0]]
    assert first.inputs.arrays["v"].dtype == np.float32, "as the model got it"
    assert last.inputs.arrays["v"].tolist() == [[1.0, 4.0]]
    assert first.outputs is not None and last.outputs is not None
    assert first.outputs["scores"].tolist() == [[0.25, 0.75]]
    assert last.outputs["label"].tolist() == [b"high"]
    assert (first.confidence, last.confidence) == (0.75, 1.0)
    assert first.call.model is not None
    assert (first.call.model.name, first.call.model.version, first.call.batch_size) == ("m", 3, 3)


def test_records_that_failed_have_the_error_and_what_the_model_got() -> None:
    good, bad = sorted(every(answered([record(0.5), record(-1)])), key=lambda one: one.offset)
    assert good.outputs is not None and good.call.error is None
    assert (bad.outputs, bad.confidence, bad.call.error) == (None, None, "a negative value")
    assert bad.inputs.arrays["v"].tolist() == [[-1, 2]]


def test_a_record_that_no_model_got_has_its_fields() -> None:
    batch = answered([record(label="é"), record(y=None)])
    unscored = replace(no_answer(np.arange(2), "no model", "no_model"), data_type="m")
    first, second = every(replace(batch, scored=[unscored]))
    assert first.inputs.signature is None
    assert {name: array.tolist() for name, array in first.inputs.arrays.items()} == {
        "x": [0.25],
        "y": [2.0],
        "label": ["é".encode()],
        "dataType": [b"m"],
    }
    assert "y" not in second.inputs.arrays, "null is no tensor"
    assert (first.call.model, first.outputs, first.call.error) == (None, None, "no model")


def test_one_record_that_cannot_be_mapped_does_not_affect_the_others() -> None:
    batch = answered(
        [record(label="ab"), record(label=None), record(label="c")], Lengths(), inputs={"text": ("label",)}
    )
    first, bad, last = sorted(every(batch), key=lambda one: one.offset)
    assert [one.inputs.arrays["text"].tolist() for one in (first, last)] == [[b"ab"], [b"c"]]
    assert first.outputs is not None and first.outputs["length"].tolist() == [2]
    assert (bad.outputs, bad.call.error_kind) == (None, "field_value")
    assert bad.inputs.signature is None
    assert bad.inputs.arrays["x"].tolist() == [0.25], "what the record has"


def test_a_record_with_a_row_for_each_item_keeps_its_rows() -> None:
    batch = answered([record(), record()])
    (part,) = batch.scored
    outputs = RecordOutputs({"scores": np.arange(3.0)}, np.array([0, 2, 3]))
    first, second = every(replace(batch, scored=[ScoredRecords(part.rows, part.call, outputs)]))
    assert first.outputs is not None and second.outputs is not None
    assert (first.outputs["scores"].tolist(), second.outputs["scores"].tolist()) == ([0, 1], [2])
    assert first.confidence is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [(True, [True]), (7, [7]), ([1.5, 2.5], [[1.5, 2.5]]), ([], None), ({"a": 1}, None), ([["a"]], None)],
    ids=str,
)
def test_fields_that_are_no_tensors_are_left_out(value: object, expected: object) -> None:
    found = field_arrays(pa.RecordBatch.from_pylist([{"f": value}]))
    assert (found["f"].tolist() if "f" in found else None) == expected
