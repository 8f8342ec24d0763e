from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from models.errors import ConditionError
from models.routing.split import choose_arms, chosen_share, field_keys, hashes_of, record_keys

KEYS = [f"key-{number}".encode() for number in range(20_000)]


def uniform(key: bytes, name: str, salt: str) -> float:
    """The specification's number between 0 and 1, in plain Python."""
    mixed = xxhash.xxh64_intdigest(key) ^ xxhash.xxh64_intdigest(salt.encode() + b"\0" + name.encode())
    mixed = (mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EB % 2**64
    mixed ^= mixed >> 31
    return ((mixed >> 11) + 0.5) / 2**53


def choose(key: bytes, weights: dict[str, float], salt: str = "") -> str:
    """The specification's choice of the arm, in plain Python."""
    costs = {name: -math.log(uniform(key, name, salt)) / weight for name, weight in weights.items() if weight}
    return min(costs, key=costs.__getitem__)


def chosen(weights: dict[str, float], salt: str = "") -> list[str]:
    names = list(weights)
    return [names[place] for place in choose_arms(hashes_of(KEYS), names, list(weights.values()), salt)]


WEIGHTS = st.just(0.0) | st.floats(1e-6, 1e6)


@given(
    st.lists(st.binary(max_size=20), max_size=8),
    st.dictionaries(st.text(max_size=5), WEIGHTS, min_size=1, max_size=5).filter(lambda arms: any(arms.values())),
    st.text(max_size=3),
)
def test_columns_split_as_the_specification_says(keys: list[bytes], weights: dict[str, float], salt: str) -> None:
    names = list(weights)
    found = choose_arms(hashes_of(keys), names, list(weights.values()), salt)
    if len(names) > 1:
        assert [names[place] for place in found] == [choose(key, weights, salt) for key in keys]
    shares = chosen_share(hashes_of(keys), "shadow", 0.3, salt)
    assert shares.tolist() == [uniform(key, "shadow", salt) < 0.3 for key in keys]


def test_shares_follow_the_weights() -> None:
    found = chosen({"a": 7.0, "b": 2.0, "c": 1.0, "nothing": 0.0})
    for name, share in (("a", 0.7), ("b", 0.2), ("c", 0.1), ("nothing", 0.0)):
        # Five standard deviations of a binomial distribution: a wrong split is far outside.
        bound = 5 * math.sqrt(share * (1 - share) / len(KEYS))
        assert abs(found.count(name) / len(KEYS) - share) <= bound


def test_only_the_keys_move_that_must() -> None:
    before, after = chosen({"live": 0.9, "canary": 0.1}), chosen({"live": 0.7, "canary": 0.3})
    moved = {(one, other) for one, other in zip(before, after, strict=True) if one != other}
    assert moved == {("live", "canary")}
    assert sum(one != other for one, other in zip(before, after, strict=True)) / len(KEYS) == pytest.approx(
        0.2, abs=0.02
    )


def test_a_new_arm_takes_its_keys_from_all_others_and_moves_no_other() -> None:
    before = chosen({"a": 1.0, "b": 1.0})
    after = chosen({"new": 0.5, "b": 1.0, "a": 1.0})
    assert all(other in (one, "new") for one, other in zip(before, after, strict=True))
    assert {one for one, other in zip(before, after, strict=True) if other == "new"} == {"a", "b"}


def test_another_salt_splits_independently() -> None:
    one, other = chosen({"a": 1.0, "b": 1.0}, "one"), chosen({"a": 1.0, "b": 1.0}, "other")
    equal = sum(first == second for first, second in zip(one, other, strict=True))
    assert equal / len(KEYS) == pytest.approx(0.5, abs=0.02)


def test_a_shadow_takes_its_share() -> None:
    assert chosen_share(hashes_of(KEYS), "s", 1.0).all()
    assert chosen_share(hashes_of(KEYS), "s", 0.25).mean() == pytest.approx(0.25, abs=0.02)


def test_a_record_without_a_key_is_split_by_its_coordinates() -> None:
    keys = pa.array([b"a", None, b""], pa.binary())
    assert record_keys(keys, lambda index: f"t-0-{index}".encode()) == [b"a", b"t-0-1", b""]


def test_fields_are_hashed_as_text() -> None:
    columns = pa.RecordBatch.from_pydict(
        {
            "text": pa.array(["größe", None]),
            "number": pa.array([-12, 3], pa.int64()),
            "flag": pa.array([True, False]),
            "raw": pa.array([b"\x00\xff", b""], pa.binary()),
            "word": pa.array(["x", "y"]).dictionary_encode(),
            "share": pa.array([0.5, 1.0]),
        }
    )
    assert field_keys(columns, ["text"]) == ["größe".encode(), b"\0"]
    assert field_keys(columns, ["number", "flag"]) == [b"-12\x1ftrue", b"3\x1ffalse"]
    assert field_keys(columns, ["raw", "word"]) == [b"\x00\xff\x1fx", b"\x1fy"]
    with pytest.raises(ConditionError, match="'share' is double"):
        field_keys(columns, ["share"])
    with pytest.raises(ConditionError, match="no field 'other'"):
        field_keys(columns, ["other"])


def test_nothing_is_split_without_records() -> None:
    assert choose_arms(hashes_of([]), ["a", "b"], [1.0, 1.0]).tolist() == []
    assert hashes_of([]).dtype == np.uint64
