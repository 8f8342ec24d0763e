from __future__ import annotations

from typing import Any

from pytest import approx

from beam_pipeline.demo.scoreboard import Scoreboard
from beam_pipeline.demo.wine import lot_id
from beam_pipeline.publishing.wine_data import Wine
from models.results.dead_letter import DeadLetter
from models.status.events import EventKind, StatusEvent

WINES = (Wine((1.0,) * 11, 5), Wine((2.0,) * 11, 6))


class ManualClock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def board_and_clock() -> tuple[Scoreboard, ManualClock]:
    clock = ManualClock()
    return Scoreboard(WINES, clock), clock


def result(
    sequence: int,
    version: int | None,
    says: int = 5,
    batch_size: int = 1,
    duration: int = 1000,
    error: str | None = None,
) -> dict[str, Any]:
    scores = [0.0] * 9
    scores[says] = 1.0
    outputs = {} if version is None or error else {"outputs": {"shape": [9], "values": scores}}
    metadata = {
        "errors": "No model server defined" if version is None else error,
        "modelVersion": version,
        "batchSize": batch_size,
        "duration": duration,
    }
    record = {"lot_id": lot_id(sequence, sequence % 2)}
    return {"inputRecord": record, "outputs": outputs, "modelResultMetadata": metadata}


def status(kind: EventKind, version: int, error: str | None = None) -> StatusEvent:
    return StatusEvent(kind, 0, "worker", "wine", version, "wine", error)


def letter(topic: str, reason: str) -> DeadLetter:
    return DeadLetter(reason, topic, 0, 0, 0, None, b"", (), 0)


def test_accuracy_is_counted_by_version_and_against_the_label_of_the_very_lot() -> None:
    board, _ = board_and_clock()
    for _ in range(6):
        board.send()
    # Even sequence numbers are the wine of quality 5, odd ones that of quality 6.
    board.see_results([result(0, None), result(1, 1, says=5), result(2, 1, says=5)])
    board.see_results([result(3, 2, says=6), result(4, 2, says=5), result(5, 2, says=5)])
    seen = board.snapshot()
    assert [(line.version, line.records) for line in seen.versions] == [(None, 1), (1, 2), (2, 3)]
    assert seen.line(None).accuracy is None
    assert seen.line(1).accuracy == approx(1 / 2)
    assert seen.line(2).accuracy == approx(2 / 3)
    assert (seen.sent, seen.answered, seen.waiting, seen.scoring) == (6, 6, 0, 2)


def test_a_result_that_comes_twice_counts_once() -> None:
    board, _ = board_and_clock()
    board.send()
    board.see_results([result(0, 1), result(0, 1)])
    seen = board.snapshot()
    assert (seen.answered, seen.duplicates, seen.line(1).records) == (1, 1, 1)


def test_an_error_of_a_model_is_an_error_and_not_a_wrong_answer_by_chance() -> None:
    board, _ = board_and_clock()
    board.send()
    board.see_results([result(0, 1, error="x is below 0")])
    assert board.snapshot().errors == 1
    assert board.snapshot().line(1).accuracy == 0.0


def test_the_mean_call_is_of_calls_and_not_of_records() -> None:
    board, _ = board_and_clock()
    for _ in range(5):
        board.send()
    # One call of 1 ms for a single record, one of 9 ms for four.
    board.see_results([result(0, 1, duration=1000)])
    board.see_results([result(number, 1, batch_size=4, duration=9000) for number in range(1, 5)])
    assert board.snapshot().line(1).call_milliseconds == approx(5.0)


def test_latencies_rates_and_the_timeline_follow_the_clock() -> None:
    board, clock = board_and_clock()
    board.send()
    board.see_results([result(0, None)])
    board.begin()
    for second in range(3):
        for _ in range(10):
            board.send()
        clock.now += 0.2
        board.see_results([result(1 + second * 10 + number, None if second == 0 else 1) for number in range(10)])
        clock.now += 0.8
    seen = board.snapshot()
    assert seen.rates_in == seen.rates_out == (10, 10, 10)
    assert seen.timeline == (None, 1, 1, -1)
    assert seen.p50 == approx(200, rel=0.02)
    assert seen.elapsed == approx(3.0)


def test_a_handover_is_timed_from_the_publication_whichever_is_noted_first() -> None:
    board, clock = board_and_clock()
    board.send()
    board.send()
    board.expect("v1 published", 1, since=clock.now)
    clock.now += 0.25
    assert board.snapshot().expecting == 1
    board.see_results([result(0, 1)])
    published = clock.now
    clock.now += 0.5
    board.see_results([result(1, 2)])
    clock.now += 5
    board.expect("v2 published", 2, since=published)
    seen = board.snapshot()
    assert seen.expecting == 0
    assert [(one.what, round(one.seconds, 3)) for one in seen.handovers] == [
        ("v1 published", 0.25),
        ("v2 published", 0.5),
    ]


def test_a_version_that_scored_before_must_score_anew_after_a_rollback() -> None:
    board, clock = board_and_clock()
    board.send()
    board.send()
    board.see_results([result(0, 2)])
    clock.now += 1
    board.expect("rollback to v2", 2, since=clock.now)
    assert board.snapshot().expecting == 1
    board.see_results([result(1, 2)])
    assert board.snapshot().expecting == 0


def test_a_refused_version_stays_refused_while_it_is_tried_again() -> None:
    board, _ = board_and_clock()
    for kind, error in (("loading", None), ("failed", "no variables"), ("loading", None), ("failed", "no variables")):
        board.see_status(status(kind, 3, error))  # type: ignore[arg-type]
    board.see_status(status("loading", 3))
    seen = board.snapshot()
    assert seen.line(3).state == "refused"
    assert [(one.version, one.reason, one.tries) for one in seen.refusals] == [(3, "no variables", 2)]


def test_states_follow_the_status_events() -> None:
    board, _ = board_and_clock()
    states = []
    for kind in ("loading", "serving", "statistics", "retired", "released", "loading", "serving", "released"):
        board.see_status(status(kind, 2))
        states.append(board.snapshot().line(2).state)
    assert states == ["loading", "serving", "serving", "retired", "retired", "loading", "serving", "replaced"]


def test_dead_letters_count_by_what_was_malformed() -> None:
    board, _ = board_and_clock()
    board.send_malformed()
    board.send_malformed(descriptor=True)
    board.see_dead_letter(letter("records", "no wine record"), of_records=True)
    board.see_dead_letter(letter("models", "no descriptor"), of_records=False)
    seen = board.snapshot()
    assert (seen.malformed_sent, seen.dead_records) == (1, 1)
    assert (seen.malformed_descriptors_sent, seen.dead_descriptors) == (1, 1)
    assert seen.dead_reason == "no descriptor"


def test_memory_stays_bounded_when_the_stream_goes_on_for_hours() -> None:
    board, clock = board_and_clock()
    for sequence in range(500):
        board.send()
        board.see_results([result(sequence, 1)])
        clock.now += 1
    assert len(board._seconds) <= 121
    assert len(board.snapshot().timeline) == 61
