"""The listener: what it takes, what it drops, and how it ends."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from models.observing.payloads.log import PayloadLog
from models.observing.payloads.payload import Payload
from models.observing.sampling import Sampling
from models.observing.totals import Totals
from tests.models.observing.payloads.answers import answered, counted, record


class Kept:
    """A destination that keeps payloads; it can be held up."""

    def __init__(self) -> None:
        self.payloads: list[Payload] = []
        self.free = threading.Event()
        self.free.set()
        self.entered = threading.Event()
        self.closed = False

    def write(self, payloads: Sequence[Payload]) -> None:
        self.entered.set()
        self.free.wait(10)
        self.payloads += payloads

    def tick(self) -> None:
        """Nothing is due."""

    def close(self) -> None:
        self.closed = True

    def offsets(self) -> list[int]:
        return [one.offset for one in self.payloads]


def test_a_share_of_the_records_is_logged_and_the_same_ones_after_a_replay() -> None:
    first, second = Kept(), Kept()
    for kept, size in ((first, 500), (second, 50)):
        log = PayloadLog(Sampling(0.2), [kept], Totals())
        for start in range(0, 1000, 2 * size):
            log.answered(answered([record()] * size, start=start))
        log.close()
    assert first.offsets() == second.offsets()
    expected = np.flatnonzero(Sampling(0.2).chosen("records", 3, np.arange(1000)))
    assert first.offsets() == [offset for offset in expected.tolist() if offset % 2 == 0]
    assert 50 < len(first.payloads) < 150
    assert first.closed


def test_a_full_queue_drops_and_counts_without_waiting() -> None:
    kept, totals = Kept(), Totals()
    kept.free.clear()
    log = PayloadLog(Sampling(1), [kept], totals, limit=2)
    log.answered(answered([record()]))
    assert kept.entered.wait(10)
    for start in (10, 20, 30, 40):
        log.answered(answered([record()] * 3, start=start))
    assert counted(totals) == {"dropped": 6}
    kept.free.set()
    log.close()
    assert kept.offsets() == [0, 10, 12, 14, 20, 22, 24]
    log.answered(answered([record()]))
    assert len(kept.payloads) == 7, "nothing is taken after the end"


def test_a_batch_that_cannot_be_taken_apart_is_dropped_and_the_next_one_is_logged() -> None:
    kept, totals = Kept(), Totals()
    log = PayloadLog(Sampling(1), [kept], totals)
    batch = answered([record(), record()])
    broken = replace(batch, batch=replace(batch.batch, timestamps=batch.batch.timestamps[:0]))
    log.answered(broken)
    log.answered(answered([record()], start=8))
    log.close()
    assert kept.offsets() == [8]
    assert counted(totals) == {"dropped": 2}
