from __future__ import annotations

import struct
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.encoding.single_object import SingleObjectCodec, bundled_codec
from models.errors import DescriptorError
from models.model_topic.descriptor import (
    ModelDescriptor,
    ModelPointer,
    decode_message,
    encode_descriptor,
    encode_pointer,
    parse_key,
    pointer_key,
    version_key,
)
from models.model_topic.golden import MOST_CHARACTERS, MOST_SAMPLES, GoldenSample, GoldenSamples
from models.model_topic.names import check_name
from models.model_topic.published import PublishedVersion
from models.schemas import ADDED_FIELDS, bundled_schema
from tests.models.fakes import TEXTS

# Hypothesis also draws texts of the code under test, such as "route", which cannot be a model's name.
NAMES = TEXTS.filter(
    lambda name: bool(name) and "/" not in name and name.isprintable() and name == name.strip() and name != "route"
)
MOMENTS = st.integers(0, 253_402_300_799_999)  # to the end of the year 9999
MAPS = st.dictionaries(TEXTS, TEXTS, max_size=3)
TOLERANCES = st.floats(0, allow_nan=False, allow_infinity=False)
GOLDEN = st.builds(
    GoldenSamples,
    st.lists(st.builds(GoldenSample, TEXTS, TEXTS), min_size=1, max_size=3).map(tuple),
    TOLERANCES,
    TOLERANCES,
)
DESCRIPTORS = st.builds(
    ModelDescriptor,
    model_name=NAMES,
    model_type=TEXTS.filter(bool),
    model_version=st.integers(0, 2**63 - 1),
    description=st.none() | TEXTS,
    model_source_location=TEXTS,
    data_type=st.none() | TEXTS,
    signature=st.none() | TEXTS,
    inputs=st.dictionaries(TEXTS, st.lists(TEXTS, max_size=3).map(tuple), max_size=3),
    outputs=MAPS,
    digest=st.none() | TEXTS,
    options=MAPS,
    published_at=MOMENTS,
    golden=st.none() | GOLDEN,
    baseline=st.none() | st.binary(max_size=20),
)
NUMBERS = st.integers(0, 2**63 - 1)
POINTERS = st.builds(
    ModelPointer,
    model_name=NAMES,
    live_version=st.none() | NUMBERS,
    previous_version=st.none() | NUMBERS,
    last_version=NUMBERS,
    updated_at=MOMENTS,
)


@given(DESCRIPTORS)
def test_a_descriptor_is_read_as_it_was_written(descriptor: ModelDescriptor) -> None:
    assert decode_message(encode_descriptor(descriptor)) == descriptor


@given(st.binary())
def test_inline_bytes_are_read_as_they_were_written(content: bytes) -> None:
    descriptor = ModelDescriptor("m", "t", model_bytes=content)
    assert decode_message(encode_descriptor(descriptor)) == descriptor
    assert descriptor.without_bytes().model_bytes is None


@given(POINTERS)
def test_a_pointer_is_read_as_it_was_written(pointer: ModelPointer) -> None:
    assert decode_message(encode_pointer(pointer)) == pointer


HEADERS = st.sampled_from([b"", bundled_codec("model_descriptor").header, bundled_codec("model_pointer").header])
WRITTEN = st.one_of(DESCRIPTORS.map(encode_descriptor), POINTERS.map(encode_pointer))


@given(st.builds(bytes.__add__, HEADERS, st.binary()))
def test_arbitrary_bytes_raise_nothing_but_a_descriptor_error(value: bytes) -> None:
    try:
        decode_message(value)
    except DescriptorError as error:
        assert str(error)


@given(WRITTEN, st.data())
def test_a_message_with_one_byte_changed_raises_nothing_but_a_descriptor_error(
    value: bytes, data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(value) - 1))
    changed = value[:place] + data.draw(st.binary(min_size=1, max_size=1)) + value[place + 1 :]
    try:
        decode_message(changed)
    except DescriptorError as error:
        assert str(error)


@given(WRITTEN, st.data())
def test_a_message_that_is_cut_short_or_too_long_is_refused(value: bytes, data: st.DataObject) -> None:
    with pytest.raises(DescriptorError):
        decode_message(value[: data.draw(st.integers(0, len(value) - 1))])
    with pytest.raises(DescriptorError, match="bytes follow its end"):
        decode_message(value + data.draw(st.binary(min_size=1)))


def test_an_impossible_moment_is_rejected() -> None:
    value = encode_pointer(ModelPointer("m", 1))[:-1] + b"\xfe" + b"\xff" * 8 + b"\x01"  # the largest long
    with pytest.raises(DescriptorError):
        decode_message(value)


@pytest.mark.parametrize("value", [b"", b"null", b"\xc3\x01", b"\xc3\x01" + bytes(8)])
def test_a_message_of_another_kind_is_refused_with_its_first_bytes(value: bytes) -> None:
    with pytest.raises(DescriptorError, match=value.hex()[:20] or "none"):
        decode_message(value)


def test_a_message_without_bytes_and_without_location_is_refused() -> None:
    value = {"modelName": "m", "modelType": "t"}
    with pytest.raises(DescriptorError, match="neither modelBytes nor modelSourceLocation"):
        decode_message(bundled_codec("model_descriptor").encode(value))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"model_name": ""}, "model name ''"),
        ({"model_name": "a/b"}, "contain '/'"),
        ({"model_type": ""}, "modelType is empty"),
        ({"model_version": -1}, "modelVersion -1"),
        ({"model_bytes": b"1", "model_source_location": "there"}, "both given"),
    ],
)
def test_a_descriptor_that_contradicts_itself_is_refused(changes: dict[str, object], text: str) -> None:
    with pytest.raises(DescriptorError, match=text):
        ModelDescriptor(**{"model_name": "m", "model_type": "t", **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["n" * 249, "ü" * 249])
def test_a_name_has_at_most_249_characters(name: str) -> None:
    assert parse_key(version_key(name, 1)) == (name, 1)
    assert ModelDescriptor(name, "t").model_name == name
    for longer in (f"{name}n", name * 2000):
        for check in (
            lambda text=longer: check_name(text),
            lambda text=longer: ModelDescriptor(text, "t"),
            lambda text=longer: ModelPointer(text, 1),
            lambda text=longer: parse_key(text.encode()),
            lambda text=longer: parse_key(f"{text}/1".encode()),
        ):
            with pytest.raises(DescriptorError, match="the limit is 249") as caught:
                check()
            assert len(str(caught.value)) < 200


def test_a_name_that_is_too_long_is_refused_when_it_is_read() -> None:
    written = encode_descriptor(ModelDescriptor("n" * 249, "t", model_source_location="nowhere"))
    value = bundled_codec("model_descriptor").decode(written)
    longer = bundled_codec("model_descriptor").encode({**value, "modelName": "n" * 400_000})
    with pytest.raises(DescriptorError, match="the limit is 249"):
        decode_message(longer)


@pytest.mark.parametrize("name", [" a", "a ", "a\n", "\t", "a\0b", "a/1", "\u2028", "a\u200bb"])
def test_names_that_people_would_confuse_are_refused(name: str) -> None:
    with pytest.raises(DescriptorError):
        check_name(name)


@given(NAMES, st.integers(1, 10**18 - 1))
def test_keys_are_parsed_as_they_were_written(name: str, version: int) -> None:
    assert parse_key(version_key(name, version)) == (name, version)
    assert parse_key(pointer_key(name)) == (name, None)


@given(st.none() | st.binary() | st.builds(bytes.__add__, st.just(b"m/"), st.binary()))
def test_an_arbitrary_key_raises_nothing_but_a_descriptor_error(key: bytes | None) -> None:
    try:
        name, version = parse_key(key)
    except DescriptorError as error:
        assert str(error)
    else:
        # A key is accepted in one spelling only: two keys of one version would be two messages of it.
        assert key == (pointer_key(name) if version is None else version_key(name, version))


@pytest.mark.parametrize(
    "key", [b"m/0", b"m/01", b"m/-1", b"m/", b"m/1/2", b"m/1.0", b"/1", b"m/\xc2\xb2", b"\xff", b""]
)
def test_a_key_that_is_not_name_and_version_is_rejected(key: bytes) -> None:
    with pytest.raises(DescriptorError):
        parse_key(key)


def test_a_descriptor_without_a_version_is_numbered_by_its_offset() -> None:
    descriptor = ModelDescriptor("m", "t")
    assert descriptor.numbered(0).model_version == 1
    assert descriptor.numbered(41).model_version == 42
    assert descriptor.numbered(7).numbered(9).model_version == 8


def test_the_data_type_is_the_models_name_unless_one_is_given() -> None:
    assert ModelDescriptor("m", "t").data_type == "m"
    assert ModelDescriptor("m", "t", data_type="d").data_type == "d"


def test_a_descriptor_prints_without_its_bytes() -> None:
    assert "secret" not in repr(ModelDescriptor("m", "t", model_bytes=b"secret"))


def test_a_huge_length_in_a_message_costs_nothing() -> None:
    header = bundled_codec("model_descriptor").header
    with pytest.raises(DescriptorError):
        decode_message(header + b"\xfe" + b"\xff" * 8 + b"\x01" + struct.pack("<q", 7))


# --- Golden samples.

SAMPLE = GoldenSample('{"x": 1}', '{"y": NaN}')


def test_a_descriptor_without_golden_samples_is_written_as_before_there_were_any() -> None:
    # The header that release 0.1.0 wrote; its workers read such a message.
    first = {name: value for name, value in bundled_schema("model_descriptor").items() if name != "fields"}
    added = ADDED_FIELDS["model_descriptor"]
    fields = [field for field in bundled_schema("model_descriptor")["fields"] if field["name"] not in added]
    earlier = SingleObjectCodec({**first, "fields": fields})
    descriptor = ModelDescriptor("m", "t", 3, model_source_location="there")
    assert earlier.header.hex() == "c3018c236bb96c1f4b48"
    assert encode_descriptor(descriptor).startswith(earlier.header)
    assert decode_message(earlier.encode(earlier.decode(encode_descriptor(descriptor)))) == descriptor
    golden = encode_descriptor(replace(descriptor, golden=GoldenSamples((SAMPLE,))))
    baseline = encode_descriptor(replace(descriptor, baseline=b"{}"))
    assert len({message[:10] for message in (encode_descriptor(descriptor), golden, baseline)}) == 3


def test_golden_samples_are_read_as_json() -> None:
    assert SAMPLE.row() == {"x": 1}
    assert str(SAMPLE.expected()) == "{'y': nan}"


@pytest.mark.parametrize("text", ["", "[1]", "3", '{"x"', "[" * 100_000])
def test_a_golden_sample_that_is_no_json_object_is_refused_by_its_name(text: str) -> None:
    with pytest.raises(DescriptorError, match="the record of a golden sample"):
        GoldenSample(text, "{}").row()
    with pytest.raises(DescriptorError, match="the outputs of a golden sample"):
        GoldenSample("{}", text).expected()


def test_too_many_or_too_large_golden_samples_are_refused() -> None:
    GoldenSamples((SAMPLE,) * MOST_SAMPLES)
    large = GoldenSample("x" * MOST_CHARACTERS, "")
    GoldenSamples((large,))
    for samples in ((), (SAMPLE,) * (MOST_SAMPLES + 1), (large, SAMPLE)):
        with pytest.raises(DescriptorError, match="golden samples"):
            GoldenSamples(samples)


@pytest.mark.parametrize("tolerance", [-0.1, float("nan"), float("inf")])
def test_a_tolerance_that_is_no_number_from_0_is_refused(tolerance: float) -> None:
    for absolute, relative in ((tolerance, 0.0), (0.0, tolerance)):
        with pytest.raises(DescriptorError, match="tolerance"):
            GoldenSamples((SAMPLE,), absolute, relative)


def test_versions_that_differ_in_their_golden_samples_are_not_the_same_model() -> None:
    plain = ModelDescriptor("m", "t", 1, model_source_location="there")
    versions = [
        PublishedVersion(replace(plain, golden=golden), 0, inline=False)
        for golden in (None, GoldenSamples((SAMPLE,)), GoldenSamples((SAMPLE,), 0.5))
    ]
    assert len({version.identity for version in versions}) == 3
