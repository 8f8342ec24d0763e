from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import DescriptorError
from models.model_topic.catalog import ModelCatalog
from models.model_topic.descriptor import (
    ModelDescriptor,
    ModelPointer,
    encode_descriptor,
    encode_pointer,
    pointer_key,
    version_key,
)
from models.model_topic.names import route_key
from models.model_topic.route import Arm, Generation, ModelRoute, Segment
from models.model_topic.route_encoding import decode_route, encode_route

Message = tuple[bytes | None, bytes | None]


def version(number: int, name: str = "m", **fields: object) -> Message:
    descriptor = ModelDescriptor(name, "t", number, model_source_location="there", **fields)  # type: ignore[arg-type]
    return version_key(name, number), encode_descriptor(descriptor)


def bare(number: int = 0, name: str = "m") -> Message:
    return pointer_key(name), encode_descriptor(ModelDescriptor(name, "t", number, model_bytes=b"model"))


def pointer(live: int | None, previous: int | None = None, name: str = "m", last: int = 0) -> Message:
    return pointer_key(name), encode_pointer(ModelPointer(name, live, previous, last))


def answered_by(number: int) -> Generation:
    return Generation((Segment((Arm("live", "m", number),)),))


def deleted(message: Message) -> Message:
    return message[0], None


def fold(*messages: Message) -> ModelCatalog:
    catalog = ModelCatalog()
    for offset, (key, value) in enumerate(messages):
        catalog.apply(offset, key, value)
    return catalog


def labels(catalog: ModelCatalog, data_type: str = "m") -> list[str]:
    return [candidate.label for candidate in catalog.candidates().get(data_type, ())]


# --- The fold.

NAMES = st.sampled_from(["m", "n"])
NUMBERS = st.integers(1, 3)
MESSAGES: st.SearchStrategy[Message] = st.one_of(
    st.builds(version, NUMBERS, NAMES, data_type=st.sampled_from([None, "d"])),
    st.builds(bare, st.integers(0, 3), NAMES),
    st.builds(pointer, st.none() | NUMBERS, st.none() | NUMBERS, NAMES),
    st.builds(deleted, st.builds(version, NUMBERS, NAMES) | st.builds(bare, NUMBERS, NAMES)),
    st.tuples(st.none() | st.binary(max_size=3), st.none() | st.binary(max_size=3)),
)


def apply_leniently(catalog: ModelCatalog, messages: list[Message], end: int | None = None) -> None:
    for offset, (key, value) in enumerate(messages[:end]):
        try:
            catalog.apply(offset, key, value)
        except DescriptorError:
            continue


def state(catalog: ModelCatalog) -> tuple[object, ...]:
    return catalog.position, catalog.versions, catalog.pointers, catalog.candidates()


@given(st.lists(MESSAGES, max_size=10), st.data())
def test_applying_any_part_again_changes_nothing(messages: list[Message], data: st.DataObject) -> None:
    once, again = ModelCatalog(), ModelCatalog()
    apply_leniently(once, messages)
    apply_leniently(again, messages, data.draw(st.integers(0, len(messages))))
    apply_leniently(again, messages)
    apply_leniently(again, messages, data.draw(st.integers(0, len(messages))))
    assert state(again) == state(once)


ROUTES: st.SearchStrategy[Message] = st.builds(
    lambda key, number, data_type: (route_key(key), encode_route(ModelRoute(data_type, (answered_by(number),)))),
    NAMES,
    NUMBERS,
    NAMES,  # now and then of another data type than the key's, which is malformed
)
DELETED_OR_MALFORMED_ROUTES = st.tuples(NAMES.map(route_key), st.none() | st.binary(max_size=3))


@given(st.lists(ROUTES | DELETED_OR_MALFORMED_ROUTES | MESSAGES, max_size=12), st.integers(1, 12))
def test_messages_applied_together_give_what_they_give_one_by_one(messages: list[Message], size: int) -> None:
    one_by_one, together = ModelCatalog(), ModelCatalog()
    apply_leniently(one_by_one, messages)
    numbered = [(offset, key, value) for offset, (key, value) in enumerate(messages)]
    for first in range(0, len(numbered), size):
        together.apply_all(numbered[first : first + size])
    assert (state(together), together.routes) == (state(one_by_one), one_by_one.routes)


def test_only_the_last_route_of_many_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[bytes] = []

    def decode(value: bytes) -> ModelRoute:
        decoded.append(value)
        return decode_route(value)

    monkeypatch.setattr("models.model_topic.catalog.decode_route", decode)
    values = [encode_route(ModelRoute("m", (answered_by(number),))) for number in range(1, 101)]
    catalog = ModelCatalog()
    assert catalog.apply_all([(offset, route_key("m"), value) for offset, value in enumerate(values)]) == []
    assert catalog.routes["m"].route.newest.arms[0].version == 100
    assert set(decoded) == {values[-1]}


@given(st.lists(MESSAGES, max_size=10))
def test_no_candidate_has_a_number_that_will_be_assigned_again(messages: list[Message]) -> None:
    catalog = ModelCatalog()
    apply_leniently(catalog, messages)
    for candidates in catalog.candidates().values():
        for descriptor in (candidate.descriptor for candidate in candidates):
            assert descriptor.model_version <= catalog.last_version(descriptor.model_name)


@given(
    st.one_of(st.none(), st.binary(), st.sampled_from([b"m", b"m/1"])),
    st.one_of(st.none(), st.binary(), MESSAGES.map(lambda message: message[1])),
)
def test_a_malformed_message_changes_nothing_but_the_position(key: bytes | None, value: bytes | None) -> None:
    catalog = fold(version(1), pointer(1))
    before = (dict(catalog.versions), dict(catalog.pointers))
    try:
        catalog.apply(5, key, value)
    except DescriptorError:
        assert (catalog.versions, catalog.pointers) == before
    assert catalog.position == 6


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        (b"n/1", version(1)[1], "keyed 'n' is about model 'm'"),
        (b"m/2", version(1)[1], "keyed m/2 holds version 1"),
        (b"m/1", pointer(1)[1], "keyed m/1 is a pointer"),
        (b"n", pointer(1)[1], "keyed 'n' is about model 'm'"),
        (None, version(1)[1], "no key"),
        (b"m/1", b"junk", "neither a model descriptor"),
    ],
)
def test_a_message_that_contradicts_its_key_is_refused(key: bytes | None, value: bytes, text: str) -> None:
    with pytest.raises(DescriptorError, match=text):
        ModelCatalog().apply(0, key, value)


def test_a_version_may_leave_its_number_to_its_key() -> None:
    descriptor = ModelDescriptor("m", "t", model_source_location="there")
    catalog = fold((version_key("m", 4), encode_descriptor(descriptor)), pointer(4))
    assert labels(catalog) == ["m/4"]


def test_compacted_offsets_are_skipped() -> None:
    catalog = ModelCatalog()
    catalog.skip_to(7)
    catalog.skip_to(3)
    assert catalog.position == 7
    catalog.apply(6, *version(1))
    assert not catalog.versions


# --- Required versions.


def test_a_version_without_a_pointer_is_not_wanted() -> None:
    assert labels(fold(version(1))) == []


def test_the_live_version_is_wanted_first_and_then_the_one_before() -> None:
    assert labels(fold(version(1), version(2), version(3), pointer(3, 1))) == ["m/3", "m/1"]


def test_a_rollback_makes_an_earlier_version_live() -> None:
    assert labels(fold(version(1), version(2), pointer(2, 1), pointer(1, 2))) == ["m/1", "m/2"]


def test_a_retired_model_is_not_wanted() -> None:
    assert labels(fold(version(1), pointer(1), pointer(None, 1))) == []


def test_a_deleted_version_is_not_wanted() -> None:
    assert labels(fold(version(1), version(2), pointer(2, 1), deleted(version(2)))) == ["m/1"]
    assert labels(fold(version(1), pointer(1), deleted(pointer(1)))) == []


def test_of_two_models_of_a_data_type_the_one_whose_pointer_was_set_last_is_wanted_first() -> None:
    messages = [
        version(1, data_type="d"),
        version(1, "n", data_type="d"),
        pointer(1),
        pointer(1, None, "n"),
    ]
    assert labels(fold(*messages), "d") == ["n/1", "m/1"]
    assert labels(fold(*messages, pointer(1)), "d") == ["m/1", "n/1"]
    assert labels(fold(*messages, pointer(None, 1, "n")), "d") == ["m/1"]


def test_the_previous_version_does_not_score_records_that_the_live_one_no_longer_scores() -> None:
    catalog = fold(version(1, data_type="old"), version(2, data_type="new"), pointer(2, 1))
    assert labels(catalog, "new") == ["m/2"]
    assert labels(catalog, "old") == []


def test_bytes_stay_in_the_topic() -> None:
    catalog = fold(bare(1), version(2), pointer(2, 1))
    assert all(known.descriptor.model_bytes is None for known in catalog.versions.values())
    assert [(one.inline, one.offset) for one in catalog.candidates()["m"]] == [(False, 1), (True, 0)]


# --- Descriptors keyed by the bare name.


def test_a_bare_descriptor_is_version_and_pointer_in_one() -> None:
    catalog = fold(bare(1), bare(2))
    assert labels(catalog) == ["m/2", "m/1"]
    assert catalog.pointers["m"].pointer == ModelPointer("m", 2, 1, 2)


def test_a_bare_descriptor_without_a_number_takes_its_place_in_the_topic() -> None:
    assert labels(fold(version(1, "n"), bare(), bare())) == ["m/3", "m/2"]


def test_an_older_bare_descriptor_does_not_become_live() -> None:
    catalog = fold(bare(5), bare(3))
    assert catalog.pointers["m"].pointer.live_version == 5
    assert ("m", 3) in catalog.versions


def test_a_bare_descriptor_published_again_keeps_the_one_before() -> None:
    assert labels(fold(bare(1), bare(2), bare(2))) == ["m/2", "m/1"]


# --- Numbers.


def test_the_last_number_is_remembered_by_the_pointer() -> None:
    assert ModelCatalog().last_version("m") == 0
    assert fold(version(1), version(7)).last_version("m") == 7
    messages = [version(9), pointer(9, 8, last=9), deleted(version(9))]
    assert fold(*messages).last_version("m") == 9
    assert fold(pointer(4, 6)).last_version("m") == 6


# --- Sameness.


def test_a_version_published_again_unchanged_is_the_same_model() -> None:
    first = fold(version(1, published_at=1)).versions["m", 1]
    again = fold(version(9), version(1, published_at=2)).versions["m", 1]
    other = fold(version(1, description="another")).versions["m", 1]
    assert first.offset != again.offset
    assert first.same_model(again)
    assert not first.same_model(other)
    assert not first.same_model(None)
