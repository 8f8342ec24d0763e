from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.encoding.single_object import SingleObjectCodec
from models.errors import DescriptorError, RouteError
from models.model_topic.catalog import ModelCatalog
from models.model_topic.descriptor import ModelDescriptor, ModelPointer, encode_descriptor, encode_pointer
from models.model_topic.fences import check_lead
from models.model_topic.guardrails import Guardrails
from models.model_topic.names import route_key
from models.model_topic.route import GENERATIONS_KEPT, ROLES, Arm, Fence, Generation, ModelRoute, Segment
from models.model_topic.route_changes import (
    check_versions,
    current_generation,
    promoted,
    same_route,
    with_canary,
    with_shadow,
    without_arm,
)
from models.model_topic.route_encoding import decode_route, encode_route
from models.routing.plan import plans
from models.schemas import bundled_schema

NAMES = st.text(st.characters(codec="utf-8", categories=["L", "N"]), min_size=1, max_size=6)
WEIGHTS = st.floats(0.01, 1.0)


@st.composite
def segments(draw: st.DrawFn, condition: str | None) -> Segment:
    names = draw(st.lists(NAMES, min_size=1, max_size=4, unique=True))
    arms = [Arm(names[0], draw(NAMES), draw(st.integers(1, 9)), draw(WEIGHTS))]
    for name in names[1:]:
        role = draw(st.sampled_from(ROLES))
        arms.append(Arm(name, draw(NAMES), draw(st.integers(1, 9)), draw(WEIGHTS), role))
    return Segment(tuple(arms), condition)


@st.composite
def generations(draw: st.DrawFn) -> Generation:
    conditions = draw(st.lists(st.sampled_from(["a > 1", "b == 'ü'"]), max_size=2))
    every = (*(draw(segments(condition)) for condition in conditions), draw(segments(None)))
    fence = draw(
        st.none()
        | st.integers(0, 2**45).map(Fence)
        | st.dictionaries(st.tuples(NAMES, st.integers(0, 9)), st.integers(0, 2**50), min_size=1, max_size=3).map(
            lambda offsets: Fence(None, offsets)
        )
    )
    split_by = tuple(draw(st.lists(NAMES, max_size=2)))
    return Generation(every, fence, split_by, draw(NAMES), draw(st.none() | st.integers(0, 2**40)))


@given(NAMES, st.lists(generations(), min_size=1, max_size=4), st.integers(0, 2**45))
def test_a_route_comes_back_as_it_was_written(data_type: str, every: list[Generation], at: int) -> None:
    route = ModelRoute(data_type, tuple(every), at)
    assert decode_route(encode_route(route)) == route


@given(st.none() | st.floats(0, 1), st.none() | st.floats(0, 1e9), st.integers(1, 2**40))
def test_guardrails_come_back_as_they_were_written(accuracy: float | None, error: float | None, labels: int) -> None:
    limits = Guardrails((0.3, 1.0), 7, 0.2, 0.3, 4.0, 0.5, accuracy, error, labels)
    canary = with_canary(generation(1), "m", 2, 0.3, limits)
    route = ModelRoute("m", (canary,), 5, canary)
    assert decode_route(encode_route(route)) == route


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: Arm("a/b", "m"), "must not be empty or contain"),
        (lambda: Arm("a", "m", 0), "below 1"),
        (lambda: Arm("a", "m", weight=float("nan")), "neither 0 nor"),
        (lambda: Arm("a", "m", weight=1e-9), "neither 0 nor"),
        (lambda: Arm("a", "m", weight=1.5, role="shadow"), "share from 0 to 1"),
        (lambda: Arm("a", "m", role="boss"), "'boss' is not one of serve"),  # type: ignore[arg-type]
        (lambda: Segment((Arm("a", "m"), Arm("a", "n"))), "two arms are named 'a'"),
        (lambda: Segment((Arm("a", "m", role="shadow"),)), "no arm of the route answers"),
        (lambda: Segment((Arm("a", "m", weight=0.0),), "x > 1"), "no arm for 'x > 1' answers"),
        (lambda: Segment((Arm("a", "m"),), "import os"), "cannot be read"),
        (lambda: Generation((Segment((Arm("a", "m"),), "x > 1"),)), "no arms for records that meet none"),
        (lambda: Generation((Segment((Arm("a", "m"),)), Segment((Arm("a", "m"),)))), "only the last segment"),
        (lambda: Generation((Segment((Arm("a", "m"),)),), Fence(1)), "must name versions"),
        (lambda: Fence(), "either a timestamp or offsets"),
        (lambda: Fence(1, {("t", 0): 1}), "either a timestamp or offsets"),
        (lambda: ModelRoute("d", ()), "is empty"),
        (lambda: check_lead(0.9), "at least 1 s"),
        (lambda: check_lead(100_000), "more than a day"),
    ],
)
def test_a_route_that_contradicts_itself_is_refused(make: Callable[[], object], reason: str) -> None:
    with pytest.raises(DescriptorError, match=reason):
        make()


# --- Generations that follow each other.


def generation(version: int, fence: int | None = None) -> Generation:
    return Generation((Segment((Arm("live", "m", version),)),), None if fence is None else Fence(fence))


def followed(*every: Generation) -> list[int | None]:
    route = ModelRoute("m", (every[0],))
    for one in every[1:]:
        route = route.followed_by(one, 0)
    return [one.arms[0].version for one in route.generations]


def test_behind_fences_all_earlier_generations_stay() -> None:
    assert followed(generation(1), generation(2, 10), generation(3, 20)) == [1, 2, 3]


def test_without_a_fence_only_what_serves_until_it_is_loaded_stays() -> None:
    assert followed(generation(1), generation(2), generation(3)) == [2, 3]
    assert followed(generation(1), generation(2, 10), generation(3)) == [1, 2, 3]
    assert followed(generation(1), generation(2, 10), generation(3), generation(4)) == [3, 4]


def test_a_route_does_not_grow_without_limit() -> None:
    every = followed(*(generation(1), *(generation(number, number) for number in range(2, 400))))
    assert len(every) == GENERATIONS_KEPT
    assert every[-1] == 399
    fenced = [generation(1), *(generation(number, number) for number in range(2, 400))]
    assert len(encode_route(ModelRoute("m", tuple(fenced[:GENERATIONS_KEPT])))) < 60_000


# --- In the catalog.


def catalog_of(*messages: tuple[bytes, bytes | None]) -> ModelCatalog:
    catalog = ModelCatalog()
    for offset, (key, value) in enumerate(messages):
        catalog.apply(offset, key, value)
    return catalog


def version(number: int, name: str = "m") -> tuple[bytes, bytes]:
    descriptor = ModelDescriptor(name, "t", number, model_source_location="there")
    return f"{name}/{number}".encode(), encode_descriptor(descriptor)


def live(number: int, name: str = "m") -> tuple[bytes, bytes]:
    return name.encode(), encode_pointer(ModelPointer(name, number))


def routed(*every: Generation, data_type: str = "m") -> tuple[bytes, bytes]:
    return route_key(data_type), encode_route(ModelRoute(data_type, every))


def labels(catalog: ModelCatalog, data_type: str = "m") -> list[list[str]]:
    """The versions of each arm of each generation, newest first."""
    plan = plans(catalog).get(data_type, ())
    return [[version.label for version in one.versions()] for one in plan]


def test_a_route_replaces_what_the_pointers_say_and_its_deletion_restores_it() -> None:
    messages = [version(1), version(2), live(2), routed(generation(1))]
    assert labels(catalog_of(*messages[:3])) == [["m/2"]]
    assert labels(catalog_of(*messages)) == [["m/1"]]
    assert labels(catalog_of(*messages, (route_key("m"), None))) == [["m/2"]]


def test_the_newest_generation_gets_the_offset_of_its_message() -> None:
    catalog = catalog_of(version(1), version(2), routed(generation(1), generation(2, 10)))
    (newest, base) = plans(catalog)["m"]
    assert (newest.offset, newest.fence) == (2, Fence(10))
    assert base.offset == 2  # the publisher of a second generation writes the offset of the first one instead
    route = catalog.routes["m"].route.followed_by(generation(1, 20), 0)
    assert [one.offset for one in route.generations] == [2, 2, None]


def test_an_arm_without_a_version_follows_the_live_one() -> None:
    follows = Generation((Segment((Arm("live", "m"),)),))
    assert labels(catalog_of(version(1), live(1), routed(follows))) == [["m/1"]]
    assert labels(catalog_of(version(1), live(1), routed(follows), version(2), live(2))) == [["m/2"]]


def test_an_arm_of_a_deleted_version_has_none() -> None:
    assert labels(catalog_of(version(1), routed(generation(1)), (b"m/1", None))) == [[]]


@pytest.mark.parametrize(
    "message",
    [
        (route_key("m"), b"no route"),
        (route_key("other"), encode_route(ModelRoute("m", (generation(1),)))),
        (b"route/", encode_route(ModelRoute("m", (generation(1),)))),
        (b"route/\xff", encode_route(ModelRoute("m", (generation(1),)))),
        (route_key("m"), encode_pointer(ModelPointer("m", 1))),
        (b"route", encode_pointer(ModelPointer("m", 1))),
        (b"m", encode_route(ModelRoute("m", (generation(1),)))),
    ],
)
def test_a_malformed_route_changes_nothing(message: tuple[bytes, bytes]) -> None:
    catalog = catalog_of(version(1), live(1))
    with pytest.raises(DescriptorError):
        catalog.apply(2, *message)
    assert labels(catalog) == [["m/1"]]
    assert not catalog.routes


@given(st.binary(max_size=200))
def test_hostile_bytes_are_no_route(value: bytes) -> None:
    with pytest.raises(DescriptorError):
        decode_route(encode_route(ModelRoute("m", (generation(1),)))[:10] + value + b"\x01\x02")


# --- Changes.


def arms(one: Generation) -> list[tuple[str, str, float, str]]:
    return [(arm.name, arm.label, arm.weight, arm.role) for arm in one.arms]


def test_without_a_route_the_live_version_is_where_changes_start() -> None:
    assert current_generation(catalog_of(version(1)), "m") is None
    start = current_generation(catalog_of(version(1), version(2), live(2)), "m")
    assert start is not None
    assert arms(start) == [("live", "m/2", 1.0, "serve")]


def test_a_canary_takes_its_share_and_a_second_one_replaces_it() -> None:
    one = with_canary(promoted(None, "m", 1), "m", 2, 0.1)
    assert arms(one) == [("live", "m/1", 0.9, "serve"), ("canary", "m/2", 0.1, "candidate")]
    other = with_canary(one, "m", 3, 0.5)
    assert arms(other) == [("live", "m/1", 0.5, "serve"), ("canary", "m/3", 0.5, "candidate")]
    assert arms(without_arm(other, "canary")) == [("live", "m/1", 0.5, "serve")]


def test_a_shadow_leaves_the_answers_alone() -> None:
    one = with_shadow(promoted(None, "m", 1), "n", 4, 0.2)
    assert arms(one) == [("live", "m/1", 1.0, "serve"), ("shadow-n-4", "n/4", 0.2, "shadow")]
    assert arms(with_shadow(one, "n", 4, 1.0))[1][2] == 1.0


def test_the_split_survives_a_promotion() -> None:
    before = Generation((Segment((Arm("live", "m", 1),)),), None, ("customer",), "salt")
    after = promoted(before, "m", 2)
    assert (after.split_by, after.salt, after.fence) == (("customer",), "salt", None)


@pytest.mark.parametrize(
    "change",
    [
        lambda one: with_canary(one, "m", 2, 0.0),
        lambda one: with_canary(one, "m", 2, 1.0),
        lambda one: with_shadow(one, "m", 2, 0.0),
        lambda one: with_shadow(one, "m", 2, 1.1),
        lambda one: without_arm(one, "nobody"),
        lambda one: without_arm(one, "live"),
        lambda one: with_canary(Generation((Segment(one.arms, "x > 1"), *one.segments)), "m", 2, 0.1),
    ],
)
def test_an_impossible_change_is_refused(change: Callable[[Generation], Generation]) -> None:
    with pytest.raises(RouteError):
        change(promoted(None, "m", 1))


def test_versions_that_do_not_exist_are_refused() -> None:
    catalog = catalog_of(version(1), version(3))
    check_versions(promoted(None, "m", 3), catalog)
    with pytest.raises(RouteError, match=r"no version 2; existing versions: 1, 3"):
        check_versions(promoted(None, "m", 2), catalog)
    with pytest.raises(RouteError, match=r"'n' is unknown; existing models: m"):
        check_versions(promoted(None, "n", 1), catalog)
    with pytest.raises(RouteError, match=r"'m' is retired"):
        check_versions(Generation((Segment((Arm("live", "m"),)),)), catalog)


def test_routes_that_differ_in_their_beginning_only_are_the_same() -> None:
    assert same_route(generation(1), generation(1, 10))
    assert not same_route(generation(1), generation(2))


def test_a_route_of_the_earlier_schema_is_still_read() -> None:
    limits = {
        "steps": [0.1, 1.0],
        "minRecords": 50,
        "maxErrors": 0.01,
        "minAgreement": 0.9,
        "maxSlowdown": 2.0,
        "tolerance": 0.001,
    }
    arm = {"name": "canary", "model": "m", "version": 2, "weight": 1.0, "role": "candidate", "graph": None}
    generation = {
        "offset": 7,
        "fence": None,
        "splitBy": ["user"],
        "salt": "",
        "note": "",
        "segments": [{"condition": None, "arms": [{**arm, "guardrails": limits}]}],
        "graphs": [],
    }
    earlier = SingleObjectCodec(bundled_schema("earlier/model_route_1"))
    message = earlier.encode({"dataType": "m", "generations": [generation], "updatedAt": 1_000})
    route = decode_route(message)
    assert (route.data_type, route.updated_at, route.declared) == ("m", 1_000, None)
    (found,) = route.newest.arms
    assert (found.name, found.label, route.newest.split_by) == ("canary", "m/2", ("user",))
    assert found.guardrails == Guardrails((0.1, 1.0), 50, 0.01, 0.9, 2.0, 0.001)
    # It is written in the newest schema.
    assert not encode_route(route).startswith(message[:10])
    assert decode_route(encode_route(route)) == route
