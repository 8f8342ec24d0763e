"""Both Open Inference scorers against servers that lie, or that respond in ways in which MLServer does not."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
import pytest
from open_inference.grpc import protocol

from models.errors import ModelLoadError, ScoringError
from models.scorers import load_scorer
from models.scorers.base import Scorer
from models.scorers.servers.remote_calls import RemoteCallError
from models.text import SERVER_TEXT_LIMIT
from tests.certificates import Certificate
from tests.models.scorers.servers.open_inference_fake import Answers, RestAnswers, grpc_server, json_answer, rest_server
from tests.models.scorers.servers.tensorflow_serving_replica import source

X = {"x": np.array([1, 2], np.float32)}
Y_IS_FLOATS = {"y": ("FP32", [-1])}
ONES = struct.pack("<2f", 1, 1)


def over_grpc(address: str, **options: str) -> Scorer:
    options = {name.replace("_", "."): value for name, value in options.items()}
    return load_scorer(source(f"grpc://{address}/m", "open-inference-grpc", options=options))


def over_rest(address: str, **options: str) -> Scorer:
    options = {name.replace("_", "."): value for name, value in options.items()}
    return load_scorer(source(f"http://{address}/v2/models/m", "open-inference-rest", options=options))


def grpc_answer(datatype: str, shape: list[int], *raw: bytes, version: str = "", **contents: Any) -> Any:
    answer = protocol.ModelInferResponse(model_name="m", model_version=version, raw_output_contents=raw)
    output = answer.outputs.add(name="y", datatype=datatype, shape=shape)
    for name, values in contents.items():
        getattr(output.contents, name).extend(values)
    return answer


@pytest.mark.parametrize(
    ("datatype", "field", "values", "dtype"),
    [
        ("BOOL", "bool_contents", [True, False], np.bool_),
        ("INT8", "int_contents", [-128, 127], np.int8),
        ("INT32", "int_contents", [-(2**31), 1], np.int32),
        ("INT64", "int64_contents", [-(2**63), 1], np.int64),
        ("UINT16", "uint_contents", [0, 2**16 - 1], np.uint16),
        ("UINT64", "uint64_contents", [0, 2**64 - 1], np.uint64),
        ("FP32", "fp32_contents", [0.5, float("inf")], np.float32),
        ("FP64", "fp64_contents", [0.1, 1e300], np.float64),
        ("BYTES", "bytes_contents", [b"\xff", b""], object),
    ],
)
def test_lists_of_values_are_read_as_kserve_sends_them(
    datatype: str, field: str, values: list[Any], dtype: Any
) -> None:
    answers = Answers(grpc_answer(datatype, [2], version="7", **{field: values}))
    with grpc_server(answers) as address:
        scorer = over_grpc(address)
        scores = scorer.score(X)
        scorer.close()
    assert scores.outputs["y"].tolist() == values
    assert scores.outputs["y"].dtype == dtype
    assert scores.model_version == 7
    assert answers.requests[0].id


def test_binary_texts_and_halves_are_read() -> None:
    raw = struct.pack("<I2sI", 2, b"\xffa", 0)
    for datatype, content, values in (("BYTES", raw, [b"\xffa", b""]), ("FP16", struct.pack("<2e", 0.5, 2), [0.5, 2])):
        with grpc_server(Answers(grpc_answer(datatype, [2], content))) as address:
            scorer = over_grpc(address)
            assert scorer.score(X).outputs["y"].tolist() == values
            scorer.close()


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (grpc_answer("FP32", [2], ONES[:-1]), "buffer size must be a multiple of element size"),
        (grpc_answer("FP32", [3], ONES), r"cannot reshape array of size 2 into shape \(3,\)"),
        (grpc_answer("FP32", [-1], ONES), r"shape \[-1\] has a size below 0"),
        (grpc_answer("FP32", [2**62, 2**62], ONES), "answer cannot be read"),
        (grpc_answer("FP32", [1, 2], ONES), r"FP32 of shape \[1, 2\] is not FP32 of \[-1\]"),
        (grpc_answer("FP32", [1], ONES[:4]), r"output 'y' has shape \(1,\), but the input has 2 rows"),
        (grpc_answer("INT32", [2], ONES), r"INT32 of shape \[2\] is not FP32 of \[-1\].*metadata=ignore"),
        (grpc_answer("FP32", [2], ONES, ONES), "there are 1 outputs, but 2 raw contents"),
        (grpc_answer("BF16", [2], ONES[:4]), "datatype 'BF16' is not supported"),
        (grpc_answer("FP16", [2]), "output 'y' of type FP16 is not in binary form"),
        (grpc_answer("INT8", [2], int_contents=[1, 300]), "answer cannot be read: OverflowError"),
        (grpc_answer("BYTES", [2], struct.pack("<IcI", 1, b"a", 2**31)), "the content ends within string 1"),
        (grpc_answer("BYTES", [2], b"\1\0\0\0a\0\0"), "the content ends within the length of string 1"),
        (protocol.ModelInferResponse(), "the answer has no output 'y'; it has: none"),
    ],
)
def test_a_lie_over_grpc_is_a_scoring_error(answer: Any, text: str) -> None:
    with grpc_server(Answers(answer, outputs=Y_IS_FLOATS)) as address:
        scorer = over_grpc(address)
        with pytest.raises(ScoringError, match=text):
            scorer.score(X)
        scorer.close()


@pytest.mark.parametrize(
    ("datatype", "shape", "text"),
    [("BF16", [-1], "'x': datatype 'BF16' is not supported"), ("FP32", [4], r"'x' has the shape \[4\]")],
)
def test_metadata_that_cannot_be_used_are_refused(datatype: str, shape: list[int], text: str) -> None:
    described = {"inputs": [{"name": "x", "datatype": datatype, "shape": shape}]}
    rest = RestAnswers({"/ready": (200, {}, b""), "/m": json_answer(described)})
    with grpc_server(Answers(inputs={"x": (datatype, shape)})) as address, pytest.raises(ModelLoadError, match=text):
        over_grpc(address)
    with rest_server(rest) as address, pytest.raises(ModelLoadError, match=text):
        over_rest(address)


def test_a_model_that_is_not_ready_is_waited_for() -> None:
    with grpc_server(Answers(ready=[False, False])) as address:
        over_grpc(address).close()
    with (
        grpc_server(Answers(ready=[False] * 100)) as address,
        pytest.raises(ModelLoadError, match=r"no model 'm' that is ready \(after 3 attempts\)"),
    ):
        over_grpc(address, attempts="3")
    with (
        rest_server(RestAnswers({"/ready": (400, {}, b"")})) as address,
        pytest.raises(ModelLoadError, match=r"400: Bad Request \(after 3 attempts\)"),
    ):
        over_rest(address, attempts="3")


def rest_answers(infer: tuple[int, Any, bytes], *, extensions: Any = (), outputs: Any = ()) -> RestAnswers:
    described = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [-1]}], "outputs": list(outputs)}
    return RestAnswers(
        {
            "/infer": infer,
            "/ready": (200, {}, b""),
            "/m": json_answer(described),
            "/v2": json_answer({"extensions": extensions}),
        }
    )


def json_output(datatype: str, shape: Any, data: Any) -> dict[str, Any]:
    return {"outputs": [{"name": "y", "datatype": datatype, "shape": shape, "data": data}]}


Y_OVER_REST = [{"name": "y", "datatype": "FP32", "shape": [-1]}]
DEEP = b"[" * 100_000


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"<html>", "answer cannot be read"),
        (b'{"outputs": ' + DEEP, "nested too deeply|answer cannot be read"),
        (b"[]", "the body is not a JSON object"),
        (b"{}", "KeyError: 'outputs'"),
        (json.dumps({"outputs": {"y": 1}}).encode(), "answer cannot be read"),
        (json.dumps({"outputs": [{"name": "y", "parameters": []}]}).encode(), "KeyError"),
        (json.dumps(json_output("FP32", [2], [1])).encode(), "cannot reshape"),
        (json.dumps(json_output("FP32", [-1], [1, 2])).encode(), "below 0"),
        (json.dumps(json_output("FP32", "2", [1, 2])).encode(), "'2' is not a shape"),
        (json.dumps(json_output("FP32", [2], ["1", "2"])).encode(), "not of this type"),
        (json.dumps(json_output("FP32", [2], {"0": 1})).encode(), "dict, not a list"),
        (json.dumps(json_output("FP32", [2, 2], [[1, 2], [3]])).encode(), "answer cannot be read"),
        (json.dumps(json_output("INT64", [2], [1.5, 2])).encode(), "not of this type"),
        (json.dumps(json_output("INT64", [2], [None, 2])).encode(), "not of this type"),
        (json.dumps(json_output("UINT64", [2], [2**63, 1.0])).encode(), "not of this type"),
        (json.dumps(json_output("UINT64", [2], [True, 1])).encode(), "not of this type"),
        (json.dumps(json_output("UINT64", [2], [2**63, -1])).encode(), "OverflowError"),
        (json.dumps(json_output("UINT8", [2], [256, 2])).encode(), "OverflowError"),
        (json.dumps(json_output("BOOL", [2], [0, 1])).encode(), "not of this type"),
        (json.dumps(json_output("BYTES", [2], ["a", 1])).encode(), "1 is not a string"),
        (json.dumps(json_output("BYTES", [2], [["a"], "b"])).encode(), "lists and values are mixed"),
        (json.dumps(json_output("BYTES", [1], ["\ud800"])).encode(), "surrogates not allowed"),
        (json.dumps(json_output("FP64", [2], [1, 2])).encode(), r"FP64 of shape \[2\] is not FP32 of \[-1\]"),
        (json.dumps(json_output("FP32", [1, 2], [1, 2])).encode(), r"\[1, 2\] is not FP32"),
    ],
)
def test_a_lie_over_rest_is_a_scoring_error(body: bytes, text: str) -> None:
    with rest_server(rest_answers((200, {}, body), outputs=Y_OVER_REST)) as address:
        scorer = over_rest(address)
        with pytest.raises(ScoringError, match=text):
            scorer.score(X)
        scorer.close()


def test_numbers_that_json_does_not_have_are_read_however_a_server_writes_them() -> None:
    for data in (b"[NaN, Infinity]", b"[null, Infinity]"):
        body = b'{"outputs": [{"name": "y", "datatype": "FP32", "shape": [2], "data": ' + data + b"}]}"
        with rest_server(rest_answers((200, {}, body))) as address:
            scorer = over_rest(address)
            np.testing.assert_array_equal(scorer.score(X).outputs["y"], np.array([np.nan, np.inf], np.float32))
            scorer.close()


def test_data_in_lists_of_lists_are_read() -> None:
    for datatype, data in (("INT64", [[1], [2]]), ("BYTES", [["a"], ["b"]])):
        with rest_server(rest_answers(json_answer(json_output(datatype, [2, 1], data)))) as address:
            scorer = over_rest(address)
            values = scorer.score(X).outputs["y"].tolist()
            scorer.close()
        assert values == data or values == [[b"a"], [b"b"]]


def binary_answer(content: bytes, *sizes: Any, datatype: str = "FP32") -> tuple[int, dict[str, str], bytes]:
    outputs = [
        {"name": f"y{number}", "datatype": datatype, "shape": [2], "parameters": {"binary_data_size": size}}
        for number, size in enumerate(sizes)
    ]
    head = json.dumps({"model_version": "4", "outputs": outputs}).encode()
    return 200, {"Inference-Header-Content-Length": str(len(head))}, head + content


def test_binary_tensors_go_both_ways_where_the_server_lists_the_extension() -> None:
    texts = struct.pack("<IcIc", 1, b"a", 1, b"\xff")
    for content, size, datatype, expected in ((ONES, 8, "FP32", [1, 1]), (texts, 10, "BYTES", [b"a", b"\xff"])):
        answers = rest_answers(
            binary_answer(2 * content, size, size, datatype=datatype), extensions=["binary_tensor_data"]
        )
        with rest_server(answers) as address:
            scorer = over_rest(address)
            scores = scorer.score({"x": np.array([np.nan, 2], np.float32)})
            scorer.close()
        assert scores.model_version == 4
        assert {name: array.tolist() for name, array in scores.outputs.items()} == {"y0": expected, "y1": expected}
        _, headers, body = answers.requests[-1]
        size = int(headers["inference-header-content-length"])
        head = json.loads(body[:size])
        assert head["inputs"][0]["parameters"] == {"binary_data_size": 8}
        assert head["parameters"] == {"binary_data_output": True}
        assert body[size:] == struct.pack("<2f", np.nan, 2)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (binary_answer(ONES[:-1], 8), "has 8 bytes, but only 7 were received"),
        (binary_answer(ONES, -1), "has -1 bytes"),
        (binary_answer(ONES, "8"), "has '8' bytes"),
        (binary_answer(ONES + b"more", 8), "4 bytes follow the last output"),
        (binary_answer(ONES, 4), "4 bytes follow|cannot reshape"),
        ((200, {"Inference-Header-Content-Length": "99999"}, b"{}"), "is 99999, but the body has 2 bytes"),
        ((200, {"Inference-Header-Content-Length": "x"}, b"{}"), "invalid literal"),
    ],
)
def test_a_lie_in_binary_form_is_a_scoring_error(answer: Any, text: str) -> None:
    with rest_server(rest_answers(answer, extensions=["binary_tensor_data"])) as address:
        scorer = over_rest(address)
        with pytest.raises(ScoringError, match=text):
            scorer.score(X)
        scorer.close()


def test_extensions_that_cannot_be_read_are_none() -> None:
    answers = rest_answers(json_answer(json_output("FP32", [2], [1, 2])))
    for extensions in ((404, {}, b""), (200, {}, b"html"), json_answer({"extensions": "binary_tensor_data"})):
        answers.paths["/v2"] = extensions
        with rest_server(answers) as address:
            scorer = over_rest(address)
            assert scorer.score(X).outputs["y"].tolist() == [1, 2]
            scorer.close()
        assert "inference-header-content-length" not in answers.requests[-1][1]


def test_a_huge_text_of_an_error_is_cut() -> None:
    for body in (b"x" * 5_000_000, json.dumps({"error": "x\n" * 1_000_000}).encode()):
        with rest_server(rest_answers((500, {}, body))) as address:
            scorer = over_rest(address)
            with pytest.raises(RemoteCallError, match="500: x") as caught:
                scorer.score(X)
            scorer.close()
        assert len(str(caught.value)) < SERVER_TEXT_LIMIT + 100
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("size", "status"), [(100_000, "INTERNAL"), (2_000_000, "RESOURCE_EXHAUSTED")])
def test_a_huge_text_of_an_error_over_grpc_is_not_taken_for_an_overload(size: int, status: str) -> None:
    answers = Answers(error="x" * size)
    with grpc_server(answers) as address:
        scorer = over_grpc(address)
        with pytest.raises(RemoteCallError, match=f"{status}: ") as caught:
            scorer.score(X)
        scorer.close()
    assert not caught.value.transient
    assert len(answers.requests) == 1
    assert len(str(caught.value)) < SERVER_TEXT_LIMIT + 100


def test_texts_that_json_does_not_have_and_types_that_the_protocol_does_not_have_are_refused() -> None:
    with rest_server(rest_answers(json_answer({}))) as rest, grpc_server(Answers()) as grpc:
        for scorer in (over_rest(rest), over_grpc(grpc)):
            for array in (np.array([1j]), np.array([None], object)):
                with pytest.raises(ScoringError, match=r"input 'x'.*(no datatype for complex128|None is not bytes)"):
                    scorer.score({"x": array})
            scorer.close()
        scorer = over_rest(rest)
        with pytest.raises(ScoringError, match="a string is not UTF-8"):
            scorer.score({"x": np.array([b"\xff"], object)})
        scorer.close()


def test_both_speak_over_tls(certificate: Certificate) -> None:
    options = {"tls.ca": str(certificate.certificate)}
    answers = rest_answers(json_answer(json_output("FP32", [2], [1, 2])))
    with (
        grpc_server(Answers(grpc_answer("FP32", [2], ONES)), certificate) as grpc,
        rest_server(answers, certificate) as rest,
    ):
        for location, kind in (
            (f"grpcs://{grpc}/m", "open-inference-grpc"),
            (f"https://{rest}/v2/models/m", "open-inference-rest"),
        ):
            scorer = load_scorer(source(location, kind, options=options))
            assert scorer.score(X).outputs["y"].shape == (2,)
            scorer.close()
