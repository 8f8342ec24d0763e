from __future__ import annotations

import math
import pickle
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.artifacts.digest import digest_of_path
from models.artifacts.local_opener import LocalOpener
from models.errors import ModelUnreachableError, ScoringError
from models.loading.loader import LoadedModel, ModelLoader
from models.model_topic.descriptor import ModelDescriptor
from models.model_topic.published import PublishedVersion
from models.model_topic.route import Fence
from models.records.batch import Headers
from models.records.outgoing import OutgoingMessage
from models.records.record_type import RecordFormat, RecordType
from models.results.dead_letter import DeadLetter, decode_dead_letter
from models.results.decoder import ResultDecoder
from models.routing.plan import implicit_plan
from models.scorers.base import Scores
from models.serving.assembly import ScoredBatch, ScoringSettings, score_batch
from models.serving.registry import ModelRegistry
from models.serving.scoring import by_data_type
from models.tensors import Array
from models.text import TEXT_LIMIT
from tests.models.fakes import X_SCHEMA, FakeScorer, batch_of, columns_of, fake_model, published, schema_of
from tests.saved_models import save_failing_model, save_recommender, save_version_model

SCHEMAS = {name: RecordType(X_SCHEMA.name, X_SCHEMA.text, name) for name in ("avro", "json")}
FORMATS = pytest.mark.parametrize("record_format", ["avro", "json"])


def settings(schema: RecordType, **more: Any) -> ScoringSettings:
    return ScoringSettings({"records": schema}, "results", "dead-letters", **more)


def record(x: float, data_type: str = "m", record_format: RecordFormat = "avro") -> bytes:
    return SCHEMAS[record_format].codec.encode({"x": x, "dataType": data_type})


def messages(scored: ScoredBatch) -> list[OutgoingMessage]:
    """All messages of a batch, in the order of their records."""
    return sorted(scored.outgoing, key=lambda message: message.offset or 0)


def results(scored: ScoredBatch, schema: RecordType) -> list[dict[str, Any]]:
    decoder = ResultDecoder(schema.codec.embedding)
    return [decoder.decode(message.value or b"") for message in messages(scored) if message.topic == "results"]


def letters(scored: ScoredBatch) -> list[DeadLetter]:
    found = [message for message in messages(scored) if message.topic == "dead-letters"]
    return [decode_dead_letter(message.value or b"") for message in found]


def errors(scored: ScoredBatch, schema: RecordType) -> list[str | None]:
    return [result["modelResultMetadata"]["errors"] for result in results(scored, schema)]


def outcomes(scored: ScoredBatch, schema: RecordType) -> tuple[int, int, int]:
    """How many records have an answer, an error, and a dead letter."""
    answered = errors(scored, schema).count(None)
    return answered, len(results(scored, schema)) - answered, len(letters(scored))


class Named:
    """A registry that serves models for certain data types."""

    def __init__(self) -> None:
        self.registry = ModelRegistry("worker")
        self.candidates: dict[str, tuple[PublishedVersion, ...]] = {}

    def serve_fake(self, number: int, data_type: str = "m", scorer: Any = None) -> None:
        version = published(number, f"model-of-{data_type}", data_type=data_type)
        self.serve(version, fake_model(version, scorer))

    def serve_saved(self, path: Path, schema: RecordType, data_type: str = "m", **fields: Any) -> None:
        descriptor = ModelDescriptor(
            f"model-of-{data_type}",
            "tensorflow-saved-model",
            7,
            model_source_location=str(path),
            data_type=data_type,
            **fields,
        )
        version = PublishedVersion(descriptor, 99, inline=False)
        self.serve(version, ModelLoader(LocalOpener(), lambda offset: b"", [schema.codec]).load(version))

    def serve(self, version: PublishedVersion, model: Any) -> None:
        """Makes a loaded model the live one of its data type."""
        self.candidates[version.descriptor.data_type] = (version,)
        self.registry.update({name: implicit_plan(versions) for name, versions in self.candidates.items()})
        self.registry.loaded(version, model)


@pytest.fixture
def named() -> Iterator[Named]:
    made = Named()
    yield made
    made.registry.close()


@pytest.fixture(scope="module")
def failing_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_failing_model(tmp_path_factory.mktemp("models") / "failing")


# --- One message a record.


@FORMATS
def test_a_result_holds_the_record_the_outputs_and_who_gave_them(
    named: Named, tmp_path: Path, record_format: RecordFormat
) -> None:
    schema = RecordType.named("recommender", record_format)
    path = save_recommender(tmp_path / "recommender")
    named.serve_saved(path, schema, "recommender", inputs={"users": ("user",)})
    rows: list[dict[str, Any]] = [
        {"user": 1, "products": [1000, 2000], "dataType": "recommender"},
        {"user": 2, "products": [], "dataType": "recommender"},
    ]
    batch = batch_of([schema.codec.encode(row) for row in rows], [b"a", None], [(("h", b"1"),), ()])
    scored = score_batch(batch, named.registry, settings(schema))
    assert outcomes(scored, schema) == (2, 0, 0)
    assert scored.outgoing.span == batch.span
    first, second = messages(scored)
    assert (first.topic, first.key, first.headers, first.offset) == ("results", b"a", (("h", b"1"),), 0)
    assert (second.key, second.headers, second.offset) == (None, (), 2)
    found = results(scored, schema)
    assert [result["inputRecord"] for result in found] == rows
    assert found[0]["outputs"] == {"predictions": {"shape": [2, 1], "values": [2.0, 3.0]}}
    assert found[1]["outputs"] == {"predictions": {"shape": [0, 1], "values": []}}
    metadata = found[1]["modelResultMetadata"]
    assert metadata.pop("startTime") > 0
    assert metadata.pop("duration") > 0
    assert metadata == {
        "errors": None,
        "offset": 2,
        "partition": 3,
        "topic": "records",
        "modelName": "model-of-recommender",
        "modelVersion": 7,
        "modelType": "tensorflow-saved-model",
        "modelSourceLocation": str(path),
        "digest": digest_of_path(path),
        "descriptorOffset": 99,
        "batchSize": 2,
        "routeOffset": None,
        "arm": None,
        "role": None,
        "steps": None,
    }


def test_an_empty_batch_gives_nothing(named: Named) -> None:
    scored = score_batch(batch_of([]), named.registry, settings(X_SCHEMA))
    assert messages(scored) == []


@FORMATS
def test_undecodable_records_become_dead_letters_in_their_place(named: Named, record_format: RecordFormat) -> None:
    named.serve_fake(1)
    schema = SCHEMAS[record_format]
    batch = batch_of([b"\xff", record(1.0, "m", record_format), None], [b"a", b"b", b"c"])
    scored = score_batch(batch, named.registry, settings(schema))
    assert [message.topic for message in messages(scored)] == ["dead-letters", "results", "dead-letters"]
    assert outcomes(scored, schema) == (1, 0, 2)
    assert [(letter.offset, letter.value) for letter in letters(scored)] == [(0, b"\xff"), (4, None)]


DRAWN = st.sampled_from(
    [record(1.0), record(-1.0), record(0.0, "unknown"), record(2.0, "n"), b"", b"\xff", None, record(math.nan)]
)


@given(st.lists(DRAWN, max_size=12))
def test_every_record_gives_exactly_one_message_in_its_place(values: list[bytes | None]) -> None:
    named = Named()
    named.serve_fake(1, "m", Choosy())
    named.serve_fake(2, "n")
    batch = batch_of(values)
    scored = score_batch(batch, named.registry, settings(X_SCHEMA))
    assert [message.offset for message in messages(scored)] == batch.offsets.tolist()
    for value, message in zip(values, messages(scored), strict=True):
        if message.topic == "results" and value is not None:
            result = ResultDecoder(X_SCHEMA.codec.embedding).decode(message.value or b"")
            bad = result["inputRecord"]["x"] < 0 or result["inputRecord"]["dataType"] == "unknown"
            assert (result["modelResultMetadata"]["errors"] is not None) == bad
            assert bool(result["outputs"]) != bad


class Choosy(FakeScorer):
    """Fails if any x is below 0; counts its calls."""

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__(1)
        self.error = error or ScoringError("x is below 0")
        self.calls = 0

    def score(self, inputs: Mapping[str, Array]) -> Scores:
        self.calls += 1
        if any(value < 0 for value in inputs["x"].tolist()):
            raise self.error
        return super().score(inputs)


# --- Errors.


def test_exactly_the_record_that_fails_gets_the_error(named: Named, failing_path: Path) -> None:
    named.serve_saved(failing_path, X_SCHEMA)
    xs = [4.0] * 37
    xs[21] = -1.0
    scored = score_batch(batch_of([record(x) for x in xs]), named.registry, settings(X_SCHEMA))
    assert outcomes(scored, X_SCHEMA) == (36, 1, 0)
    for place, result in enumerate(results(scored, X_SCHEMA)):
        error = result["modelResultMetadata"]["errors"]
        assert result["modelResultMetadata"]["modelVersion"] == 7
        if place == 21:
            assert "x is below 0" in error
            assert result["outputs"] == {}
            assert result["modelResultMetadata"]["batchSize"] == 1
        else:
            assert error is None
            assert result["outputs"]["root"]["values"] == [2.0]


def test_a_bad_record_costs_few_calls(named: Named) -> None:
    scorer = Choosy()
    named.serve_fake(1, scorer=scorer)
    xs = [1.0] * 511 + [-1.0]
    score_batch(batch_of([record(x) for x in xs]), named.registry, settings(X_SCHEMA))
    assert scorer.calls <= 2 * 9 + 1


def test_a_value_that_does_not_fit_spoils_no_other_record(named: Named, failing_path: Path) -> None:
    schema = schema_of(x=["null", "string", "double"], dataType="string")
    named.serve_saved(failing_path, schema)
    rows = [{"x": value, "dataType": "m"} for value in (4.0, "text", 9.0)]
    scored = score_batch(batch_of([schema.codec.encode(row) for row in rows]), named.registry, settings(schema))
    found = errors(scored, schema)
    assert [error is None for error in found] == [True, False, True]
    assert "model input 'x'" in (found[1] or "")


def test_an_unforeseen_error_is_told_with_its_class(named: Named) -> None:
    named.serve_fake(1, scorer=Choosy(RuntimeError("ü")))
    scored = score_batch(batch_of([record(-1.0), record(1.0)]), named.registry, settings(X_SCHEMA))
    assert errors(scored, X_SCHEMA) == ["RuntimeError: ü", None]


def test_a_model_that_cannot_be_reached_is_not_asked_record_by_record(named: Named) -> None:
    scorer = Choosy(ModelUnreachableError("no answer in 5 s"))
    named.serve_fake(1, scorer=scorer)
    scored = score_batch(batch_of([record(-1.0)] * 50), named.registry, settings(X_SCHEMA))
    assert scorer.calls == 1
    assert errors(scored, X_SCHEMA) == ["no answer in 5 s"] * 50
    assert results(scored, X_SCHEMA)[0]["modelResultMetadata"]["batchSize"] == 50


@FORMATS
def test_without_a_model_the_result_says_so(named: Named, record_format: RecordFormat) -> None:
    schema = SCHEMAS[record_format]
    scored = score_batch(batch_of([record(1.0, "größe", record_format)]), named.registry, settings(schema))
    (result,) = results(scored, schema)
    metadata = result["modelResultMetadata"]
    assert metadata["errors"] == "No model server defined for data type 'größe'"
    assert (metadata["modelName"], metadata["digest"], metadata["offset"]) == (None, None, 0)


def test_a_record_before_everything_that_its_route_keeps_gets_an_error_that_says_so(named: Named) -> None:
    (planned,) = implicit_plan((published(1),))
    named.registry.update({"m": (replace(planned, fence=Fence(10**15)),)})
    scored = score_batch(batch_of([record(1.0)]), named.registry, settings(X_SCHEMA))
    (error,) = errors(scored, X_SCHEMA)
    assert error is not None
    assert error.endswith("the record is before the fence of the oldest state that its route keeps, of 256")


def test_a_json_number_that_no_json_can_say_again_is_a_dead_letter(named: Named) -> None:
    named.serve_fake(1)
    batch = batch_of([b'{"x": 1e999, "dataType": "m"}', b'{"x": 1, "dataType": "m"}'])
    scored = score_batch(batch, named.registry, settings(SCHEMAS["json"]))
    assert outcomes(scored, SCHEMAS["json"]) == (1, 0, 1)


@given(st.lists(st.binary(max_size=60) | st.text(max_size=20).map(lambda x: f'{{"x": 1, "dataType": "{x}"}}'.encode())))
def test_arbitrary_bytes_raise_nothing(values: list[bytes | None]) -> None:
    named = Named()
    named.serve_fake(1)
    for schema in SCHEMAS.values():
        scored = score_batch(batch_of(values), named.registry, settings(schema))
        assert len(messages(scored)) == len(values)


# --- Text that cannot be encoded, or is too long.


@pytest.mark.parametrize(
    "text",
    [
        b'{"x": "\\ud800", "dataType": "m"}',
        b'{"x": 1, "dataType": "\\uDFFF"}',
        b'{"x": 1, "dataType": "m", "more": {"deep": ["a", {"b": "\\udabc\\ud800"}]}}',
        b'{"x": 1, "dataType": "m", "\\ud800": 1}',
        b'{"x": 1, "dataType": "m", "more": [{"\\ud800": 1}]}',
    ],
)
def test_a_lone_surrogate_anywhere_makes_a_dead_letter_that_names_it_and_spoils_no_other(
    named: Named, text: bytes
) -> None:
    named.serve_fake(1)
    good = record(1.0, "m", "json")
    scored = score_batch(batch_of([good, text, good]), named.registry, settings(SCHEMAS["json"]))
    assert outcomes(scored, SCHEMAS["json"]) == (2, 0, 1)
    (letter,) = letters(scored)
    assert letter.value == text
    assert "a lone surrogate (U+D" in letter.reason
    assert "cannot be encoded as UTF-8" in letter.reason


def test_escapes_that_are_a_pair_are_text(named: Named) -> None:
    named.serve_fake(1)
    value = b'{"x": 1, "dataType": "m", "more": "\\ud83d\\ude00 \\\\ud800"}'
    scored = score_batch(batch_of([value]), named.registry, settings(SCHEMAS["json"]))
    (result,) = results(scored, SCHEMAS["json"])
    assert result["inputRecord"]["more"] == "\U0001f600 \\ud800"


def test_surrogates_as_bytes_are_a_dead_letter(named: Named) -> None:
    named.serve_fake(1)
    value = b'{"x": 1, "dataType": "m", "more": "\xed\xa0\x80"}'
    scored = score_batch(batch_of([value]), named.registry, settings(SCHEMAS["json"]))
    assert "can't decode byte 0xed" in letters(scored)[0].reason


def test_a_nullable_field_that_is_absent_is_null_and_names_no_data_type(named: Named) -> None:
    schema = schema_of("json", x=["null", "float"], dataType=["null", "string"])
    scored = score_batch(batch_of([b"{}"]), named.registry, settings(schema))
    assert errors(scored, schema) == ["No model server defined for data type 'Test'"]


@FORMATS
@pytest.mark.parametrize("error", [ScoringError("bad \ud800\n record"), RuntimeError("bad \ud800\n record")])
def test_an_error_text_that_cannot_be_encoded_is_repaired_in_one_line(
    named: Named, record_format: RecordFormat, error: Exception
) -> None:
    named.serve_fake(1, scorer=Choosy(error))
    schema = SCHEMAS[record_format]
    values = [record(x, "m", record_format) for x in (1.0, -1.0)]
    scored = score_batch(batch_of(values), named.registry, settings(schema))
    first, second = errors(scored, schema)
    assert first is None
    assert second is not None
    assert second.removeprefix("RuntimeError: ") == "bad \ufffd record"


@FORMATS
def test_long_error_texts_are_cut(named: Named, record_format: RecordFormat) -> None:
    named.serve_fake(1, scorer=Choosy(ScoringError("x" * 1_000_000)))
    schema = SCHEMAS[record_format]
    values = [record(-1.0, "m", record_format), record(1.0, "y" * 1_000_000, record_format)]
    for error in errors(score_batch(batch_of(values), named.registry, settings(schema)), schema):
        assert error is not None
        assert len(error) == TEXT_LIMIT
        assert error.endswith("...")


def test_the_reason_of_a_dead_letter_is_cut(named: Named) -> None:
    value = b'{"x": "' + b"y" * 1_000_000 + b'", "dataType": "m"}'
    (letter,) = letters(score_batch(batch_of([value]), named.registry, settings(SCHEMAS["json"])))
    assert len(letter.reason) <= TEXT_LIMIT
    assert letter.value == value


class Odd(FakeScorer):
    """Returns a text that UTF-8 cannot represent where x is below 0."""

    def score(self, inputs: Mapping[str, Array]) -> Scores:
        texts = np.array(["\ud800" if x < 0 else "text" for x in inputs["x"].tolist()], object)
        return Scores({"text": texts})


@FORMATS
def test_a_result_that_cannot_be_encoded_becomes_a_dead_letter_that_names_the_failure(
    named: Named, record_format: RecordFormat
) -> None:
    named.serve_fake(1, scorer=Odd(1))
    schema = SCHEMAS[record_format]
    values = [record(x, "m", record_format) for x in (1.0, -1.0, 1.0)]
    batch = batch_of(values, [b"a", b"b", b"c"])
    scored = score_batch(batch, named.registry, settings(schema))
    assert [message.topic for message in messages(scored)] == ["results", "dead-letters", "results"]
    assert outcomes(scored, schema) == (2, 0, 1)
    (letter,) = letters(scored)
    assert (letter.key, letter.value, letter.offset) == (b"b", values[1], 2)
    assert "the result cannot be encoded: " in letter.reason
    assert "surrogates not allowed" in letter.reason
    assert [len(result["outputs"]["text"]["values"]) for result in results(scored, schema)] == [1, 1]


def test_a_result_of_several_rows_that_cannot_be_encoded_spoils_no_other(named: Named) -> None:
    schema = schema_of(x={"type": "array", "items": "float"}, dataType="string")
    version = published(1, "model-of-m", data_type="m")
    scorer = Odd(1)
    named.serve(version, LoadedModel(version, scorer))
    rows = [[1.0, 2.0], [3.0, -1.0], [], [4.0]]
    values = [schema.codec.encode({"x": row, "dataType": "m"}) for row in rows]
    scored = score_batch(batch_of(values), named.registry, settings(schema))
    assert [letter.offset for letter in letters(scored)] == [2]
    assert [result["outputs"]["text"]["values"] for result in results(scored, schema)] == [
        [b"text", b"text"],
        [],
        [b"text"],
    ]


def test_a_dead_letter_that_cannot_be_encoded_is_reduced_to_coordinates_and_reason(named: Named) -> None:
    odd: Any = [(("h", 5),), (("\ud800", b"1"),)]
    batch = batch_of([b"\xff", b"\xff"], headers=odd)
    reduced, repaired = letters(score_batch(batch, named.registry, settings(X_SCHEMA)))
    assert (reduced.topic, reduced.partition, reduced.offset) == ("records", 3, 0)
    assert (reduced.value, reduced.headers) == (None, ())
    assert reduced.reason.startswith("not a Test record")
    assert "the message is left out, it cannot be encoded" in reduced.reason
    assert (repaired.value, repaired.headers) == (b"\xff", (("\ufffd", b"1"),))


# --- Calls of a model that fails.


def test_a_model_that_fails_for_every_record_is_asked_a_few_times(named: Named) -> None:
    scorer = Choosy(ScoringError("signature mismatch"))
    named.serve_fake(1, scorer=scorer)
    scored = score_batch(batch_of([record(-1.0)] * 2000), named.registry, settings(X_SCHEMA))
    assert scorer.calls <= 20
    assert errors(scored, X_SCHEMA) == ["signature mismatch"] * 2000


@pytest.mark.parametrize("bad", [range(0, 2000, 2), range(0, 2000, 100), [0, 1999], range(1000)])
def test_bad_records_with_the_same_error_spoil_no_other(named: Named, bad: Sequence[int]) -> None:
    scorer = Choosy()
    named.serve_fake(1, scorer=scorer)
    xs = [-1.0 if place in set(bad) else 1.0 for place in range(2000)]
    scored = score_batch(batch_of([record(x) for x in xs]), named.registry, settings(X_SCHEMA))
    assert [error is not None for error in errors(scored, X_SCHEMA)] == [x < 0 for x in xs]


def test_a_batch_ends_at_its_deadline(named: Named) -> None:
    scorer = Choosy(ScoringError("too slow"))
    scorer.batch_deadline = 1e-9
    named.serve_fake(1, scorer=scorer)
    scored = score_batch(batch_of([record(-1.0)] * 100), named.registry, settings(X_SCHEMA))
    assert scorer.calls == 0
    assert all("could not be scored within 1e-09 s" in (error or "") for error in errors(scored, X_SCHEMA))


# --- Several data types.


def kinds(schema: RecordType, rows: list[dict[str, Any]]) -> list[tuple[str, list[int]]]:
    found = by_data_type(columns_of(schema, rows), schema.codec)
    return sorted((kind, places.tolist()) for kind, places in found)


def test_the_data_type_is_the_field_or_the_record_types_name() -> None:
    assert kinds(schema_of(x="long"), [{"x": 1}, {"x": 2}]) == [("Test", [0, 1])]
    schema = schema_of(dataType=["null", "string"])
    rows = [{"dataType": text} for text in ("a", None, "", "b", "a")]
    assert kinds(schema, rows) == [("Test", [1, 2]), ("a", [0, 4]), ("b", [3])]
    assert kinds(schema, []) == []


def test_only_a_text_names_a_data_type() -> None:
    assert kinds(schema_of(dataType="bytes"), [{"dataType": b"\xff"}, {"dataType": b"a"}]) == [("Test", [0, 1])]
    schema = schema_of(dataType=["long", "string"])
    assert kinds(schema, [{"dataType": "a"}, {"dataType": 5}, {"dataType": "a"}]) == [("Test", [1]), ("a", [0, 2])]


def test_each_record_is_scored_by_the_model_of_its_data_type(named: Named, tmp_path: Path) -> None:
    for data_type, number in (("a", 1), ("b", 2)):
        named.serve_saved(save_version_model(tmp_path / data_type, number), X_SCHEMA, data_type)
    kinds = ["a", "b", "none", "b", "a", "a"]
    scored = score_batch(batch_of([record(0.0, kind) for kind in kinds]), named.registry, settings(X_SCHEMA))
    found = results(scored, X_SCHEMA)
    assert [result["inputRecord"]["dataType"] for result in found] == kinds
    assert [result["outputs"]["version"]["values"] if result["outputs"] else None for result in found] == [
        [1],
        [2],
        None,
        [2],
        [1],
        [1],
    ]
    assert [result["modelResultMetadata"]["modelName"] for result in found] == [
        f"model-of-{kind}" if kind != "none" else None for kind in kinds
    ]
    assert [result["modelResultMetadata"]["batchSize"] for result in found] == [3, 2, 1, 2, 3, 3]


# --- Keys.


@FORMATS
def test_coordinates_as_keys_carry_the_records_key_in_a_header(named: Named, record_format: RecordFormat) -> None:
    named.serve_fake(1)
    schema = SCHEMAS[record_format]
    value = record(1.0, "m", record_format)
    batch = batch_of([value, value, b"\xff"], [b"same", None, b"same"], [(("h", b"1"),), (), ()], start=10)
    scored = score_batch(batch, named.registry, settings(schema, result_key="coordinates"))
    first, second, dead = messages(scored)
    assert (first.key, first.headers) == (b"records-3-10", (("h", b"1"), ("record.key", b"same")))
    assert (second.key, second.headers) == (b"records-3-12", (("record.key", None),))
    assert dead.key == b"records-3-14"
    assert [message.offset for message in (first, second, dead)] == [10, 12, 14]


# --- Headers.


def test_headers_that_describe_the_record_as_an_event_are_not_carried_into_its_result(named: Named) -> None:
    named.serve_fake(1)
    own: Headers = (("ce_id", b"7"), ("CE_source", b"/me"), ("content-type", b"text/plain"), ("trace", b"1"))
    batch = batch_of([record(1.0)] * 2, headers=[own, own[:1]])
    first, second = messages(score_batch(batch, named.registry, settings(X_SCHEMA)))
    assert (first.headers, second.headers) == ((("trace", b"1"),), ())


@FORMATS
def test_results_can_be_cloud_events(named: Named, record_format: RecordFormat) -> None:
    named.serve_fake(1)
    batch = batch_of([record(1.0, "m", record_format)], headers=[(("trace", b"1"), ("ce_id", b"7"))], start=40)
    (message,) = messages(score_batch(batch, named.registry, settings(SCHEMAS[record_format], cloud_events=True)))
    assert dict(message.headers) == {
        "trace": b"1",
        "ce_specversion": b"1.0",
        "ce_type": b"beam.serving.ScoringResult",
        "ce_source": b"/records/3",
        "ce_id": b"40",
        "content-type": f"application/{record_format}".encode(),
    }
    assert len(message.headers) == 6


# --- Statistics.


def test_calls_are_counted_with_the_time_that_they_took(named: Named) -> None:
    named.serve_fake(1, scorer=Choosy())
    score_batch(batch_of([record(1.0)] * 4), named.registry, settings(X_SCHEMA))
    score_batch(batch_of([record(-1.0)]), named.registry, settings(X_SCHEMA))
    named.registry.report_statistics()
    statistics = named.registry.drain_events()[-1].statistics
    assert statistics is not None
    assert (statistics.usage, statistics.errors, statistics.calls) == (5, 1, 2)
    assert 0 < statistics.minimum <= statistics.average <= statistics.maximum


def test_a_failed_call_says_how_long_it_took(named: Named) -> None:
    named.serve_fake(1, scorer=Choosy())
    scored = score_batch(batch_of([record(-1.0)]), named.registry, settings(X_SCHEMA))
    metadata = results(scored, X_SCHEMA)[0]["modelResultMetadata"]
    assert metadata["duration"] > 0


def test_the_model_is_given_back_after_an_error(named: Named) -> None:
    scorer = Choosy()
    named.serve_fake(1, scorer=scorer)
    score_batch(batch_of([record(-1.0)]), named.registry, settings(X_SCHEMA))
    named.registry.close()
    assert scorer.closed.is_set()


def test_settings_are_made_of_what_a_worker_can_unpickle() -> None:
    given_settings = settings(X_SCHEMA)
    copy = pickle.loads(pickle.dumps(given_settings))
    assert copy == given_settings
    assert copy.encoder("records").embedding == X_SCHEMA.codec.embedding
    assert OutgoingMessage("t", None, None) == pickle.loads(pickle.dumps(OutgoingMessage("t", None, None)))
