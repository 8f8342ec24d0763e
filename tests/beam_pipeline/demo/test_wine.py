from __future__ import annotations

from collections import Counter

import pytest

from beam_pipeline.demo.wine import as_record, load_wines, lot_id, parse_lot_id
from beam_pipeline.publishing.wine_data import MEASURES, QUALITIES
from models.records.record_type import RecordType
from tests.models.fakes import columns_of


def test_every_row_is_on_one_side_and_a_quarter_is_held_out() -> None:
    wines = load_wines()
    assert len(wines.training) + len(wines.held_out) == 1599
    assert 0.2 < len(wines.held_out) / 1599 < 0.3
    assert {len(wine.measures) for wine in wines.training} == {len(MEASURES)}


def test_no_held_out_lot_is_among_the_training_rows_though_the_data_set_repeats_lots() -> None:
    wines = load_wines()
    everything = Counter(wine.measures for wine in (*wines.training, *wines.held_out))
    assert max(everything.values()) > 1, "the data set repeats lots, else this test shows nothing"
    assert not {wine.measures for wine in wines.training} & {wine.measures for wine in wines.held_out}


def test_qualities_are_those_that_the_models_can_answer() -> None:
    wines = load_wines()
    assert (
        {wine.quality for wine in wines.held_out} <= {wine.quality for wine in wines.training} <= set(range(QUALITIES))
    )


def test_a_wine_is_a_record_of_the_bundled_schema() -> None:
    schema = RecordType.named("wine")
    wine = load_wines().held_out[7]
    (row,) = columns_of(schema, [as_record(wine, lot_id(123, 7))]).to_pylist()
    assert row["alcohol"] == wine.measures[-1]
    assert parse_lot_id(row["lot_id"]) == (123, 7)


@pytest.mark.parametrize("lot", ["", "12", "lot-1", "1-"])
def test_a_lot_id_of_somebody_else_is_no_lot_id(lot: str) -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        parse_lot_id(lot)
