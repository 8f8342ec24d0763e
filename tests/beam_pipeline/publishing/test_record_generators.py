from __future__ import annotations

from itertools import islice

import pytest

from beam_pipeline.publishing.record_generators import GENERATORS, MOST_PRODUCTS, PRODUCTS, USERS
from models.records.record_type import RecordType
from tests.models.fakes import columns_of


@pytest.mark.parametrize("name", sorted(GENERATORS))
def test_records_follow_their_schema_and_a_seed_gives_them_again(name: str) -> None:
    schema = RecordType.named(name)
    some = list(islice(GENERATORS[name].records(7), 200))
    assert some == list(islice(GENERATORS[name].records(7), 200))
    assert some != list(islice(GENERATORS[name].records(8), 200))
    assert columns_of(schema, [one.row for one in some]).to_pylist() == [one.row for one in some]


def test_recommender_records_stay_in_the_reference_systems_bounds_and_may_be_empty() -> None:
    rows = [one.row for one in islice(GENERATORS["recommender"].records(0), 500)]
    assert all(0 <= row["user"] < USERS for row in rows)
    assert {len(row["products"]) for row in rows} == set(range(MOST_PRODUCTS + 1))
    assert all(0 <= product < PRODUCTS for row in rows for product in row["products"])


def test_wine_records_are_real_rows_without_the_label() -> None:
    lots = [one.row for one in islice(GENERATORS["wine"].records(0), 1_599)]
    assert len({row["lot_id"] for row in lots}) == 1_599
    assert sum(row["alcohol"] for row in lots) / 1_599 == pytest.approx(10.423, abs=0.001)
