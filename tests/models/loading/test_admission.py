"""The checks that a model must pass before it serves: real SavedModels, loaded as workers load them."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from models.artifacts.archive import zip_folder
from models.artifacts.digest import regular_files
from models.artifacts.local_opener import LocalOpener
from models.errors import AdmissionError, ScorerOptionError
from models.loading.admission import Admission, difference, non_finite
from models.loading.loader import LoadedModel, ModelLoader
from models.loading.memory import LoadGate
from models.model_topic.descriptor import ModelDescriptor
from models.model_topic.golden import GoldenSample, GoldenSamples
from models.model_topic.published import PublishedVersion
from models.records.record_type import RecordFormat, RecordType
from models.routing.plan import implicit_plan
from models.serving.loads import ModelLoads
from models.serving.registry import ModelRegistry
from tests.models.conftest import eventually
from tests.models.fakes import schema_of
from tests.saved_models import (
    save_failing_model,
    save_grading_model,
    save_logarithm_model,
    save_recommender,
    save_string_model,
    save_version_model,
)

X = schema_of(x="double")


def version_of(folder: Path, golden: GoldenSamples | None = None, **fields: Any) -> PublishedVersion:
    descriptor = ModelDescriptor(
        "m", "tensorflow-saved-model", 1, model_source_location=str(folder), golden=golden, **fields
    )
    return PublishedVersion(descriptor, 7, inline=False)


def options_of(**options: str) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in options.items()}


def load(version: PublishedVersion, *kinds: RecordType) -> LoadedModel:
    return ModelLoader(LocalOpener(), lambda _: b"", [kind.codec for kind in kinds or (X,)]).load(version)


def golden(*samples: tuple[Mapping[str, Any], Mapping[str, Any]], tolerance: float = 0.0) -> GoldenSamples:
    made = tuple(GoldenSample(json.dumps(record), json.dumps(outputs)) for record, outputs in samples)
    return GoldenSamples(made, tolerance, 0.0)


@pytest.fixture(scope="module")
def grading(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_grading_model(tmp_path_factory.mktemp("models") / "grading")


# --- Golden samples.


def test_a_model_that_gives_the_expected_outputs_serves(grading: Path) -> None:
    samples = golden(({"x": 2.5}, {"amount": 2.5}), ({"x": -1.0}, {"amount": [-1.0]}))
    load(version_of(grading, samples)).close()


def test_a_model_that_gives_another_output_is_refused_with_both(grading: Path) -> None:
    samples = golden(({"x": 2.5}, {"amount": 2.5}), ({"x": -1.0}, {"amount": 1.0}))
    with pytest.raises(AdmissionError, match=r"golden sample 2: output 'amount': it is -1.0, but 1.0 is expected"):
        load(version_of(grading, samples))


def test_an_output_may_differ_by_the_tolerance(grading: Path) -> None:
    for expected, passes in ((2.55, True), (2.65, False)):
        version = version_of(grading, golden(({"x": 2.5}, {"amount": expected}), tolerance=0.1))
        if passes:
            load(version).close()
        else:
            with pytest.raises(AdmissionError):
                load(version)


def test_the_expected_outputs_are_those_of_the_result(grading: Path) -> None:
    samples = golden(({"x": 2.5}, {"total": 2.5}))
    load(version_of(grading, samples, outputs={"total": "amount"})).close()
    with pytest.raises(AdmissionError, match="golden sample 1: there is no output 'total'; there are amount, scores"):
        load(version_of(grading, samples))


def test_a_record_that_gives_a_row_for_each_item_has_a_list_of_outputs(tmp_path: Path) -> None:
    folder, recommender = save_recommender(tmp_path / "model"), RecordType.named("recommender")
    record = {"user": 5, "products": [1000, 2000], "dataType": "d"}
    right = golden((record, {"predictions": [[6.0], [7.0]]}))
    load(version_of(folder, right, inputs={"users": ("user",)}), recommender).close()
    with pytest.raises(AdmissionError, match="golden sample 1"):
        load(version_of(folder, golden((record, {"predictions": [[6.0]]})), inputs={"users": ("user",)}), recommender)


@pytest.mark.parametrize("record_format", ["avro", "json"])
def test_texts_and_whole_numbers_must_be_equal(tmp_path: Path, record_format: RecordFormat) -> None:
    folder, texts = save_string_model(tmp_path / "model"), schema_of(record_format, text="string")
    right = golden(({"text": "\u00e9"}, {"length": 2, "upper": "\u00c9"}), tolerance=10.0)
    load(version_of(folder, right), texts).close()
    for wrong in ({"length": 3}, {"upper": "E"}):
        with pytest.raises(AdmissionError, match=f"output '{next(iter(wrong))}'"):
            load(version_of(folder, golden(({"text": "\u00e9"}, wrong), tolerance=10.0)), texts)


def test_bytes_of_a_record_are_given_as_base64(tmp_path: Path) -> None:
    folder, content = save_string_model(tmp_path / "model"), schema_of(text="bytes")
    record = {"text": {"base64": "AAEC"}}
    load(version_of(folder, golden((record, {"length": 3})), outputs={"length": "length"}), content).close()
    with pytest.raises(AdmissionError, match="is not base64"):
        load(version_of(folder, golden(({"text": {"base64": "?"}}, {}))), content)


def test_a_sample_that_is_no_record_is_refused_with_the_reason(grading: Path) -> None:
    with pytest.raises(AdmissionError, match="golden sample 1: it is not a record of 'Test'"):
        load(version_of(grading, golden(({"y": 1.0}, {}))))


def test_a_sample_may_be_a_record_of_any_topic_that_the_model_can_score(grading: Path) -> None:
    other = schema_of(x="double", y="string")
    load(version_of(grading, golden(({"x": 1.0}, {"amount": 1.0}))), other, X).close()


def test_a_model_that_is_filled_by_the_steps_of_a_graph_has_no_golden_samples(grading: Path) -> None:
    version = version_of(grading, golden(({"x": 1.0}, {})), options={"inputs-from": "steps"})
    with pytest.raises(AdmissionError, match="golden sample 1: no records fill the inputs of the model"):
        load(version)


def test_a_sample_that_the_model_cannot_score_is_refused_with_its_reason(tmp_path: Path) -> None:
    folder = save_failing_model(tmp_path / "model")
    with pytest.raises(AdmissionError, match=r"golden sample 2 cannot be scored: .*x is below 0"):
        load(version_of(folder, golden(({"x": 4.0}, {"root": 2.0}), ({"x": -1.0}, {}))))


# --- NaN and infinity.


def test_a_model_that_gives_nan_for_zeros_cannot_be_published_unless_it_may_and_workers_load_it(tmp_path: Path) -> None:
    folder = save_logarithm_model(tmp_path / "model")
    publishing = ModelLoader(LocalOpener(), lambda _: b"", [X.codec], publishing=True)
    with pytest.raises(AdmissionError, match="warm-up with zeros: 1 of 1 values of output 'logarithm' are NaN or inf"):
        publishing.load(version_of(folder))
    publishing.load(version_of(folder, options=options_of(allow_non_finite="true"))).close()
    publishing.load(version_of(folder, options={"warmup": "false"})).close()
    load(version_of(folder)).close()


def test_nan_for_a_golden_sample_is_refused_unless_it_is_expected(tmp_path: Path) -> None:
    folder = save_grading_model(tmp_path / "model", nan_above=1.0)
    for expected in (math.nan, "NaN", None):
        load(version_of(folder, golden(({"x": 2.0}, {"amount": expected})))).close()
    for unexpected in ({}, {"scores": [0.0, 0.0, 0.0]}, {"amount": 2.0}):
        with pytest.raises(AdmissionError, match="golden sample 1"):
            load(version_of(folder, golden(({"x": 2.0}, unexpected))))
    load(version_of(folder, golden(({"x": 2.0}, {})), options=options_of(allow_non_finite="true"))).close()


# --- Limits.


def test_a_model_that_has_too_many_bytes_is_refused_wherever_it_is(grading: Path) -> None:
    size = sum(path.stat().st_size for _, path in regular_files(grading))
    load(version_of(grading, options=options_of(max_bytes=str(size)))).close()
    with pytest.raises(AdmissionError, match=f"the model has {size} bytes; its option max-bytes allows {size - 1}"):
        load(version_of(grading, options=options_of(max_bytes=str(size - 1))))
    content = zip_folder(grading)
    options = options_of(max_bytes=str(len(content) - 1))
    inline = PublishedVersion(ModelDescriptor("m", "tensorflow-saved-model", 1, options=options), 7, inline=True)
    with pytest.raises(AdmissionError, match=f"the model has {len(content)} bytes"):
        ModelLoader(LocalOpener(), lambda _: content, [X.codec]).load(inline)


def test_a_model_that_takes_too_much_memory_is_refused(tmp_path: Path) -> None:
    folder = save_version_model(tmp_path / "model", 1, size_mb=20)
    load(version_of(folder, options=options_of(max_memory_bytes="2000000000"))).close()
    with pytest.raises(AdmissionError, match="bytes of memory; its option max-memory-bytes allows 10000000"):
        load(version_of(folder, options=options_of(max_memory_bytes="10000000")))


def test_a_model_that_loads_too_slowly_is_refused(tmp_path: Path) -> None:
    folder = save_version_model(tmp_path / "model", 1, load_delay=0.3)
    with pytest.raises(AdmissionError, match=r"loading the model took .* s; its option max-load-seconds allows 0.2"):
        load(version_of(folder, options=options_of(max_load_seconds="0.2")))
    load(version_of(folder, options=options_of(max_load_seconds="60"))).close()


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("max-bytes", "0"),
        ("max-bytes", "1.5"),
        ("max-bytes", "\u0663"),
        ("max-memory-bytes", "-1"),
        ("max-load-seconds", "0"),
        ("max-load-seconds", "nan"),
        ("max-load-seconds", "inf"),
        ("max-load-seconds", "soon"),
        ("allow-non-finite", "yes"),
    ],
)
def test_a_malformed_limit_is_refused_by_its_name(grading: Path, option: str, value: str) -> None:
    with pytest.raises(ScorerOptionError, match=f"option {option}="):
        load(version_of(grading, options={option: value}))


def test_what_is_not_given_limits_nothing() -> None:
    free = Admission.of({})
    free.check_bytes(1 << 62)
    free.check_memory(1 << 62)
    free.check_seconds(1e9)


# --- Reports of workers.


def test_a_worker_reports_what_was_refused_and_goes_on_with_the_version_before(grading: Path) -> None:
    registry = ModelRegistry("worker")
    loads = ModelLoads(registry, ModelLoader(LocalOpener(), lambda _: b"", [X.codec]))
    good, bad = version_of(grading), version_of(grading, golden(({"x": 1.0}, {"amount": 9.0})), description="bad")
    registry.update({"m": implicit_plan((PublishedVersion(bad.descriptor, 8, inline=False), good))})
    loads.start()
    try:
        assert registry.wait_settled(60.0)
        events = {event.kind: event for event in registry.drain_events()}
        assert "golden sample 1: output 'amount'" in str(events["failed"].error)
        assert events["serving"].model_version == 1
    finally:
        registry.close()
        loads.close()


@pytest.mark.parametrize(("first", "second"), [(True, True), (True, False), (False, True)])
def test_a_load_that_is_measured_is_alone(first: bool, second: bool) -> None:
    gate, events = LoadGate(), list[str]()
    arrived = threading.Event()

    def run() -> None:
        arrived.set()
        with gate.passed(alone=second):
            events.append("second begins")

    thread = threading.Thread(target=run)
    with gate.passed(alone=first):
        thread.start()
        assert arrived.wait(30.0)
        thread.join(0.1)  # enough for a gate that lets it in; one that does not is never caught by it
        events.append("first ends")
    thread.join(30.0)
    assert events == ["first ends", "second begins"]


def test_loads_that_are_not_measured_run_side_by_side() -> None:
    gate, both = LoadGate(), threading.Barrier(2, timeout=30.0)

    def run() -> None:
        with gate.passed(alone=False):
            both.wait()

    thread = threading.Thread(target=run)
    thread.start()
    run()
    thread.join(30.0)
    eventually(lambda: not thread.is_alive())


# --- The comparison.


FLOATS = arrays.arrays(
    st.sampled_from([np.float32, np.float64]), arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3)
)


@given(FLOATS)
def test_an_output_is_the_same_as_itself_written_as_json(array: Any) -> None:
    assert difference(json.loads(json.dumps(array.tolist())), array) is None


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1), st.data())
def test_whole_numbers_are_compared_exactly(values: Sequence[int], data: st.DataObject) -> None:
    array = np.array(values, np.int64)
    assert difference(list(values), array, 10.0, 10.0) is None
    changed = list(values)
    changed[data.draw(st.integers(0, len(values) - 1))] ^= 1
    assert difference(changed, array, 10.0, 10.0) is not None


@given(
    st.floats(-1e6, 1e6),
    st.floats(-1e6, 1e6),
    st.floats(0, 10, allow_subnormal=False),
    st.floats(0, 1, allow_subnormal=False),
)
def test_numbers_are_compared_within_both_tolerances(
    expected: float, actual: float, absolute: float, relative: float
) -> None:
    same = abs(actual - expected) <= absolute + relative * abs(expected)
    assert (difference([expected], np.array([actual]), absolute, relative) is None) == same


@pytest.mark.parametrize("expected", ["a", [[1.0]], [1.0, 2.0, 3.0], {"a": 1}, [1.0, "b"], [], [[1.0, 2.0], [3.0]]])
def test_an_expectation_of_another_shape_or_kind_is_a_difference(expected: Any) -> None:
    assert difference(expected, np.array([1.0, 2.0])) is not None
    assert difference(expected, np.array([b"x", b"y"], object)) is not None


@given(FLOATS)
def test_what_is_not_finite_is_found(array: Any) -> None:
    found = [not math.isfinite(value) for value in array.ravel().tolist()]
    assert non_finite(array).ravel().tolist() == found
