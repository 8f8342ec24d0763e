"""Judges whether everything in the demo happened as it should."""

from __future__ import annotations

from beam_pipeline.demo.snapshot import Snapshot, VersionLine

# A condition that is true if something went wrong, and the sentence that reports it.
_Finding = tuple[object, str]


def shortcomings(snapshot: Snapshot, passes: int) -> list[str]:
    """What went wrong, one sentence each. Checks that need a whole pass are made only if there was one."""
    found: list[_Finding] = [
        (snapshot.waiting, f"{snapshot.waiting:,} records have no result"),
        (snapshot.errors, f"{snapshot.errors:,} records could not be scored by their model"),
        (not snapshot.answered, "there was no result"),
        (_records(snapshot.of_kind("broken")), "a version that cannot be loaded appears to have scored records"),
    ]
    if passes:
        found += _of_a_pass(snapshot)
    return [sentence for wrong, sentence in found if wrong]


def _of_a_pass(snapshot: Snapshot) -> list[_Finding]:
    weak, good, broken = (snapshot.of_kind(kind) for kind in ("weak", "good", "broken"))
    refused = {refusal.version for refusal in snapshot.refusals}
    dead, sent = snapshot.dead_records, snapshot.malformed_sent
    dead_descriptors, sent_descriptors = snapshot.dead_descriptors, snapshot.malformed_descriptors_sent
    return [
        (not snapshot.line(None).records, "there was no result without a model"),
        (not _records(weak), "the weak model did not score any record"),
        (not _records(good), "the good model did not score any record"),
        ((accuracy(good) or 0) <= (accuracy(weak) or 0), "the good model is not better than the weak model"),
        (not {line.version for line in broken} & refused, "no broken model was refused"),
        ({line.version for line in weak + good} & refused, "a sound model was refused"),
        (dead != sent, f"{dead} dead letters for {sent} malformed records"),
        (
            dead_descriptors != sent_descriptors,
            f"{dead_descriptors} dead letters for {sent_descriptors} malformed descriptors",
        ),
    ]


def accuracy(lines: list[VersionLine]) -> float | None:
    """The accuracy of several versions together; None without records."""
    records = _records(lines)
    return sum((line.accuracy or 0) * line.records for line in lines) / records if records else None


def _records(lines: list[VersionLine]) -> int:
    return sum(line.records for line in lines)
