from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.observing.trace_context import continued, names_parent, parent_of, propagated, sampled_parents
from models.records.batch import Headers

# The example of the specification (W3C Trace Context, 3.2).
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED = f"00-{TRACE}-{SPAN}-01".encode()


def test_the_parent_of_a_record_is_the_span_that_sent_it() -> None:
    parent = parent_of((("user", b"7"), ("traceparent", SAMPLED), ("tracestate", b"rojo=1,congo=t61")))
    assert parent is not None
    assert (f"{parent.trace_id:032x}", f"{parent.span_id:016x}", parent.is_remote) == (TRACE, SPAN, True)
    assert propagated(parent) == {"traceparent": SAMPLED.decode(), "tracestate": "rojo=1,congo=t61"}


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"garbage",
        SAMPLED.upper(),
        SAMPLED[:-1],
        SAMPLED + b"-more",
        b"ff" + SAMPLED[2:],
        b"\xff" * 55,
        f"00-{'0' * 32}-{SPAN}-01".encode(),
        f"00-{TRACE}-{'0' * 16}-01".encode(),
        f"00-{TRACE}-{SPAN}-00".encode(),
        f"00-{TRACE}-{SPAN}-02".encode(),
        f"01-{TRACE}-{SPAN}-01-{'x' * 1000}".encode(),
    ],
    ids=str,
)
def test_a_context_that_cannot_be_read_or_is_not_sampled_is_no_parent(value: bytes | None) -> None:
    headers: Headers = (("traceparent", value),)
    assert parent_of(headers) is None
    assert sampled_parents({3: headers}) == {}
    assert names_parent(headers)


@given(
    st.lists(st.tuples(st.sampled_from(["traceparent", "tracestate", "x"]), st.none() | st.binary() | st.just(SAMPLED)))
)
def test_no_headers_raise(headers: list[tuple[str, bytes | None]]) -> None:
    parent = parent_of(tuple(headers))
    assert sampled_parents({0: tuple(headers)}) == ({} if parent is None else {0: parent})
    last = [value for name, value in headers if name == "traceparent"][-1:]
    assert (parent is not None) == (last == [SAMPLED])


def test_of_repeated_headers_the_last_one_counts() -> None:
    newer = SAMPLED.replace(SPAN.encode(), b"00000000000000aa")
    headers: Headers = (
        ("traceparent", SAMPLED),
        ("traceparent", newer),
        ("tracestate", b"a=1"),
        ("tracestate", b"b=2"),
    )
    parent = parent_of(headers)
    assert parent is not None
    assert propagated(parent) == {"traceparent": newer.decode(), "tracestate": "b=2"}
    assert continued(headers, parent) == (("traceparent", newer), ("tracestate", b"b=2"))


def test_a_trace_state_that_is_too_long_is_left_out() -> None:
    parent = parent_of((("traceparent", SAMPLED), ("tracestate", b"a=" + b"x" * 600)))
    assert parent is not None and propagated(parent) == {"traceparent": SAMPLED.decode()}


def test_only_records_of_sampled_traces_have_parents() -> None:
    unsampled: Headers = (("traceparent", SAMPLED[:-1] + b"0"),)
    headers: dict[int, Headers] = {0: (("user", b"7"),), 2: (("traceparent", SAMPLED),), 5: unsampled}
    assert list(sampled_parents(headers)) == [2]
