from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.columns.outputs import RecordOutputs
from models.columns.scored import ModelCall, RouteIdentity, ScoredRecords
from models.routing.plan import PlannedArm
from models.serving.leases import LeasedArm
from models.serving.scoring import ShadowWork
from models.serving.shadow_batches import shadow_batches
from tests.models.fakes import X_SCHEMA, batch_of, published

SIZES = st.lists(st.tuples(st.integers(1, 6), st.integers(0, 2**6 - 1), st.integers(1, 2)), min_size=1, max_size=6)


def _work(size: int, chosen: int, offset: int, start: int) -> ShadowWork:
    """Records, of which those with a set bit are scored; their x is their row plus `start`."""
    values = [X_SCHEMA.codec.encode({"x": float(start + row), "dataType": "m"}) for row in range(size)]
    batch = batch_of(values, start=1_000 * start)
    decoded = X_SCHEMA.codec.decode(batch.values, batch.headers)
    rows = np.array([row for row in range(size) if chosen >> row & 1], np.int64)
    arm = LeasedArm(PlannedArm((published(2),), "shadow", "shadow"), None)
    return ShadowWork(arm, RouteIdentity(offset, "shadow", "shadow"), "m", batch, decoded, rows)


def _scored(xs: Sequence[float], failed: int) -> list[ScoredRecords]:
    """The squares of all x, with one record that failed alone, as after a halved call."""
    rows = np.arange(len(xs))
    call = ModelCall(None, 0, 0, len(xs))
    good = rows[rows != failed]
    parts = [ScoredRecords(good, call, RecordOutputs({"y": np.array(xs)[good] ** 2}, None))] if len(good) else []
    bad = rows[rows == failed]
    return [*parts, *([ScoredRecords(bad, call, None)] if len(bad) else [])]


@given(SIZES, st.integers(0, 40))
def test_each_record_gets_its_own_answer_whatever_was_joined(sizes: list[tuple[int, int, int]], failed: int) -> None:
    starts = [100 * number for number in range(len(sizes))]
    works = [_work(size, chosen, offset, start) for (size, chosen, offset), start in zip(sizes, starts, strict=True)]
    found = []
    for batch in shadow_batches(works):
        assert len({work.route for work in batch.works}) == 1
        columns = batch.columns()
        coordinates = batch.coordinates()
        xs = columns.column(columns.schema.get_field_index("x")).to_pylist()
        assert [f"records-3-{1_000 * (x // 100 * 100) + 2 * (x % 100):.0f}".encode() for x in xs] == coordinates
        for work, answers in batch.parted(_scored(xs, failed)):
            answered = np.sort(np.concatenate([np.zeros(0, np.int64), *(one.rows for one in answers)]))
            np.testing.assert_array_equal(answered, work.rows)
            own = work.decoded.columns.column(work.decoded.columns.schema.get_field_index("x")).to_numpy()
            for one in answers:
                if one.outputs is not None:
                    np.testing.assert_array_equal(one.outputs.arrays["y"], own[one.rows] ** 2)
            found.append(id(work))
    assert sorted(found) == sorted(id(work) for work in works)


def test_the_states_of_a_route_are_not_joined() -> None:
    batches = shadow_batches([_work(2, 3, 1, 0), _work(2, 3, 2, 100), _work(2, 3, 1, 200)])
    assert [len(batch.works) for batch in batches] == [2, 1]
